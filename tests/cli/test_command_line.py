"""The commands themselves: help, imports, exit codes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup, TyperOption

from vfctl import __version__
from vfctl.cli.app import app, run
from vfctl.terminal.output import stderr_console

DOCS = Path(__file__).parents[2] / "docs"
ROOT: Any = typer.main.get_command(app)


def commands(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command with the words that call it."""
    yield path, command
    if isinstance(command, TyperGroup):
        context = typer.Context(command)  # type: ignore[arg-type]
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))


COMMANDS = dict(commands())
each_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def help_of(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*path, "--help"]) == 0
    return re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)


@each_command
def test_every_parameter_is_explained(path: tuple[str, ...]) -> None:
    assert COMMANDS[path].help
    for parameter in COMMANDS[path].params:
        assert parameter.help, f"{' '.join(path)}: {parameter.name} has no help"


@each_command
@pytest.mark.parametrize("columns", ["40", "200"])
def test_help_shows_every_default_and_cuts_nothing(
    path: tuple[str, ...], columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = "".join(help_of(path, capsys).split())
    assert "…" not in shown
    for parameter in COMMANDS[path].params:
        default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
        names = [parameter.metavar or parameter.name.upper()]
        if isinstance(parameter, TyperOption):
            names = parameter.opts
        elif parameter.required:
            default = None
        for part in (*names, parameter.help):
            assert "".join(part.split()) in shown, f"{part} is missing"
        if default not in (None, False):
            text = str(getattr(default, "value", f"{default:g}" if isinstance(default, float) else default))
            assert f"[default:{''.join(text.split())}" in shown, f"{names}: the default {text} is not shown"


@each_command
def test_every_default_is_in_words_or_a_value(path: tuple[str, ...]) -> None:
    """An option that takes a quantity says what holds without it."""
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, TyperOption) and parameter.metavar in ("TIME", "SIZE", "RATE"):
            assert isinstance(parameter.show_default, str), f"{' '.join(path)} {parameter.opts[0]}"


@pytest.mark.parametrize("path", [path for path, each in COMMANDS.items() if not isinstance(each, TyperGroup)])
def test_every_command_has_examples_that_it_accepts(path: tuple[str, ...]) -> None:
    examples = re.findall(r"^ +vfctl (.*)$", COMMANDS[path].help.partition("Examples:")[2], re.MULTILINE)
    assert examples, "no example"
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])
        assert tuple(words[: len(path)]) == path
        COMMANDS[path].make_context(path[-1], words[len(path) :], parent=typer.Context(ROOT), resilient_parsing=True)


@pytest.mark.processes
def test_help_for_a_reader_that_leaves_is_no_error() -> None:
    shell = f"{sys.executable} -m vfctl --help | head -3; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: vfctl")


def test_scenario_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["scenario", "list"]) == 0
    assert "smoke" in capfd.readouterr().out
    assert run(["scenario", "show", "smoke"]) == 0
    path = tmp_path / "mine.toml"
    path.write_text(capfd.readouterr().out + "state2 = 5\n")
    assert run(["scenario", "check", "smoke"]) == 0
    assert run(["scenario", "check", str(path)]) == 2
    assert f"{path}:" in capfd.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"vfctl {__version__}\n"


@pytest.mark.processes
def test_help_imports_nothing_heavy() -> None:
    """`vfctl --help` answers at once because none of these is loaded."""
    script = (
        "import sys\n"
        "from vfctl.cli.app import run\n"
        "assert run(['--help']) == 0\n"
        "print(*{'numpy', 'jax', 'aiohttp', 'networkx', 'rdflib', 'lz4', 'mcap', 'pydantic'} & set(sys.modules), "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stderr.strip() == b""
    assert b"loadtest" in done.stdout


@pytest.mark.processes
def test_spawned_processes_do_not_import_the_command_line() -> None:
    """Spawn imports the parent's main module again; that must cost nothing."""
    script = "import sys, vfctl.__main__; print('vfctl.cli.app' in sys.modules, 'typer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"False False\n"


def test_a_bug_of_ours_is_exit_code_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("vfctl.server.options.Recording.__init__", lambda *_, **__: 1 / 0)
    assert run(["replay", "x"]) == 70
    assert "This is a bug of vfctl" in capsys.readouterr().err


@pytest.fixture(scope="module")
def reference() -> Any:
    """docs/cli_reference.py as a module."""
    names: dict[str, Any] = {"__name__": "cli_reference", "__file__": str(DOCS / "cli_reference.py")}
    exec(compile((DOCS / "cli_reference.py").read_text(), "cli_reference.py", "exec"), names)
    return names


def test_the_reference_is_the_help_of_the_commands(reference: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert (DOCS / "cli.md").read_text("utf-8") == reference["markdown"](ROOT), "run `make docs`"


def test_the_listing_describes_the_commands(reference: Any) -> None:
    assert reference["LISTING"].read_text("utf-8") == reference["listing"](ROOT), "run `make docs`"


def test_all_lines_for_people_go_through_one_console() -> None:
    """A second console would write its lines into the live display of the first."""
    assert stderr_console() is stderr_console()


@pytest.mark.processes
def test_an_interrupt_while_the_command_line_is_imported_has_its_exit_code_too() -> None:
    program = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from vfctl.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"")


@pytest.mark.processes
def test_an_interrupt_within_exec_has_its_exit_code_too(tmp_path: Path) -> None:
    """As `python -m`: otherwise Python ends by the signal, which a pipeline takes for a crash."""
    (tmp_path / "interrupted.py").write_text(
        """
from vfctl.cli import app, main
def run(_):
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        return 130
app.run = run
main()
"""
    )
    ended = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False, timeout=30)
    assert ended.returncode == 130


@pytest.mark.processes
def test_a_signal_handler_may_print_while_something_is_printed() -> None:
    """The first Ctrl-C of a load test does."""
    program = """
import signal, sys
from vfctl.terminal.output import ignore_closed_stderr
ignore_closed_stderr()
said = []
def handler(*_):
    said.append(sys.stderr.write("in between\\n"))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
for number in range(30_000):
    sys.stderr.write(f"{number}\\n")
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(said))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr[-500:]
    lines = ended.stderr.splitlines()
    assert lines.count("in between") == int(ended.stdout) > 10
    assert [line for line in lines if line != "in between"] == list(map(str, range(30_000)))
