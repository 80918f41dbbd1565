# Everything a newcomer needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
NODE_STAMP := node_modules/.installed

# Tests that start processes run alone, one after the other, because they need both cores.
TEST_JOBS ?= 2
PYTEST    := $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadgroup

# Tests start hundreds of processes. Without compiled modules on the disk each of them would compile vfctl again.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup browser system demo test test-fast coverage lint format docs pictures bench clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: vfctl needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "setting up $(VENV) (about half a minute, once)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(NODE_STAMP): package.json package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null \
	  || { echo "error: the checks of the viewer's JavaScript need Node.js 20 or newer with npm; install them (Debian: sudo apt-get install nodejs npm) and run make lint again" >&2; exit 1; }
	@echo "installing TypeScript and ESLint into node_modules (a few seconds, once)" >&2
	@npm ci --silent
	@touch $@

setup: $(STAMP)  ## the virtual environment in .venv

demo: $(STAMP)  ## a server on the bundled graph and 1,000 clients for 15 seconds
	@$(BIN)/vfctl loadtest --scenario demo

browser:  ## a Chromium for the tests of the viewer and the HTML report: Debian's, if there is none and we may install it
	@for name in chromium chromium-browser google-chrome-stable google-chrome chrome; do \
	  command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing chromium, for the tests of the viewer and the HTML report (once)" >&2; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null; \
	else \
	  echo "note: without Chromium or Chrome the tests of the viewer and the HTML report fail; sudo apt-get install chromium" >&2; \
	fi

system: browser  ## what the tests want of the system: a Chromium, and tcpdump to hold captures against
	@if command -v tcpdump >/dev/null || [ -x /usr/sbin/tcpdump ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing tcpdump, for the test of packet captures (once)" >&2; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends tcpdump >/dev/null; \
	else \
	  echo "note: without tcpdump, and the right to capture, a test fails; sudo apt-get install tcpdump" >&2; \
	fi

test: $(STAMP) system  ## the whole test suite
	@$(PYTEST) -m 'not processes'
	@$(BIN)/python -m pytest -m processes

test-fast: $(STAMP)  ## the tests that start neither processes nor a browser
	@$(PYTEST) -m 'not processes'

coverage: $(STAMP) system  ## the whole test suite, and how much of each module it runs
	@$(PYTEST) -m 'not processes' --cov --cov-report=
	@$(BIN)/python -m pytest -m processes --cov --cov-append --cov-report=term:skip-covered

lint: $(STAMP) $(NODE_STAMP)  ## ruff, mypy and import-linter; tsc and ESLint for the viewer
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@npm run --silent lint

format: $(STAMP)  ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(STAMP)  ## docs/cli.md and completion from the commands' own help, and the table of docs/physics.md
	@$(BIN)/python docs/cli_reference.py
	@$(BIN)/python docs/parameter_table.py

pictures: $(STAMP) browser  ## the pictures of the documentation, in a headless Chromium
	@$(BIN)/python docs/pictures.py

bench: $(STAMP)  ## the side-by-side measurements in benchmarks/: half an hour with nothing else running
	@for b in benchmarks/codec.py benchmarks/decode.py benchmarks/encodings.py benchmarks/mutations.py benchmarks/delay.py benchmarks/compare.py benchmarks/loadgen.py benchmarks/fanout.py benchmarks/physics.py benchmarks/ticks.py benchmarks/viewer.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

clean:  ## remove the environment and all caches
	rm -rf $(VENV) node_modules benchmarks/build benchmarks/peers/.venv benchmarks/peers/node_modules build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
