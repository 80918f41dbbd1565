"""Every console and Python block of the documentation runs.

A line of a console block that begins with `$ vfctl` is a command. It runs in a directory of its own for each page, in
the order of the page, and has to end with exit code 0. What differs from what a reader types:

- Servers: each URL leads to one server that all pages share. A load test without a URL uses it as well.
- Time: `--duration` is 1 s or less, `--clients` at most 20, `--repeat` at most 2. Commands that run until Ctrl-C get a
  duration. `vfctl serve` and `vfctl replay` get a free port, one gateway, and Ctrl-C as soon as they serve.
- Files: `examples/`, and the captures, results and sounds of the fixture `fixtures` when a command names them.
- A command that serves and that an earlier page has run already is not run again.
- What stands behind a pipe is not run. Other programs (`$ pip …`, `$ curl …`) are not run either.
- The gates of a load test may fail, because it is that short. (Exit code 3 where none is stated.)

An HTML comment above a block changes that: `<!-- not run: REASON -->` or `<!-- exit code: 3 -->`. A block with a file
name behind its language (```toml mine.toml) is written to that file.
"""

from __future__ import annotations

import re
import shlex
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.e2e.conftest import Vfctl, run
from vfctl.capture import open_capture, open_writer
from vfctl.capture.message import Direction
from vfctl.protocol import NodeDrag, encode

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")} - {ROOT / "docs" / "cli.md"})
BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^>]*) -->\n)?```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
URL = re.compile(r"ws://[\w.-]+(?::\d+)?(?=/|$)")
SERVED: set[tuple[str, ...]] = set()
RUNS_UNTIL_CTRL_C = {"record", "watch", "receive"}


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    note: str
    language: str
    file: str | None
    text: str
    line: int

    @property
    def commands(self) -> list[str]:
        """The command lines of a console block, without those of other programs."""
        lines = re.findall(r"^\$ (.*(?:\\\n.*)*)", self.text, re.MULTILINE)
        parts = [part.strip() for line in lines for part in re.split(r"&&", line.replace("\\\n", " "))]
        return [part for part in parts if part.startswith("vfctl ")]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that mean something here."""
    text = page.read_text()
    found = [
        Block(
            match["note"] or "", match["language"], match["file"], match["text"], text[: match.start()].count("\n") + 1
        )
        for match in BLOCK.finditer(text)
    ]
    return [block for block in found if block.file or block.language in ("console", "python")]


def arguments_of(command: str) -> list[str]:
    """The arguments of a vfctl command, up to a pipe, `&` or a comment."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    words = list(lexer)
    end = next((index for index, word in enumerate(words) if set(word) <= set("|&;")), len(words))
    assert not any("$(" in word or "`" in word for word in words[:end]), f"mark this as not run: {command}"
    return words[1:end]


class Reader:
    """Somebody who types what a page says, in a directory of their own."""

    def __init__(self, folder: Path, address: str, fixtures: Path) -> None:
        self._address = address
        self._fixtures = fixtures
        shutil.copytree(ROOT / "examples", folder / "examples")
        (folder / "tests").symlink_to(ROOT / "tests")

    def write(self, block: Block) -> None:
        assert block.file is not None
        Path(block.file).write_text(block.text)

    def run_python(self, block: Block, where: str) -> None:
        for name in re.findall(r'"([\w-]+\.\w+)"', block.text):
            self._provide(name)
        code = compile(URL.sub(self._address, block.text), where, "exec")
        exec(code, {"__name__": "__main__"})

    def run_command(self, command: str) -> tuple[int, str]:
        """Exit code and stderr."""
        arguments = [URL.sub(self._address, word) for word in arguments_of(command)]
        arguments = self._shortened(arguments)
        outputs = {arguments[index + 1] for index, word in enumerate(arguments[:-1]) if word in ("--record", "--json")}
        if arguments[0] == "record":
            outputs.add(arguments[2])
        for name in arguments:
            if name not in outputs:
                self._provide(name)
        arguments = [
            found for word in arguments for found in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
        ]
        if arguments[0] in ("serve", "replay") and "--to" not in arguments and "--help" not in arguments:
            return self._serve(arguments)
        code, _, errors = run(*arguments)
        return code, errors

    def _shortened(self, arguments: list[str]) -> list[str]:
        changed = list(arguments)
        for index, word in enumerate(arguments[:-1]):
            value = arguments[index + 1]
            if word == "--duration":
                changed[index + 1] = "0.5" if arguments[0] == "loadtest" else "1"
            elif word in ("--clients", "--repeat"):
                most = 20 if word == "--clients" else 2
                changed[index + 1] = str(min(int(value), most) if value.isdigit() else most)
        command = arguments[1] if arguments[0] == "voice" else arguments[0]
        if command in RUNS_UNTIL_CTRL_C and "--duration" not in arguments:
            changed += ["--duration", "1"]
        if command == "loadtest":
            own_server = {"--embedded", "--graph", "--nodes", "--generator", "--active", "--ab", "--help"}
            if own_server.isdisjoint(arguments) and not any("://" in word for word in arguments):
                changed.append(f"{self._address}/ws")
            duration_s = "2.5" if "--ab" in arguments else "0.5"  # a comparison needs two seconds
            for option, value in (("--clients", "20"), ("--duration", duration_s), ("--ramp", "0.2")):
                if option not in arguments:
                    changed += [option, value]
        return changed

    def _provide(self, name: str) -> None:
        fixture = self._fixtures / name
        if "/" not in name and fixture.is_file() and not Path(name).exists():
            shutil.copy(fixture, name)

    def _serve(self, arguments: list[str]) -> tuple[int, str]:
        if tuple(arguments) in SERVED:
            return 0, ""
        SERVED.add(tuple(arguments))
        workers = () if "--workers" in arguments or arguments[0] == "replay" else ("--workers", "1")
        server = Vfctl(*arguments, *workers, "--port", "0")
        try:
            server.wait_for(r"serving .* on ws://")
            server.interrupt()
            return server.finish()[0], server.errors
        finally:
            server.kill()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """ws://HOST:PORT of a server of the bundled graph that never settles."""
    config = tmp_path_factory.mktemp("server") / "active.toml"
    config.write_text('[server]\nstate = "active"\nworkers = 1\n')
    server = Vfctl("serve", "--config", config, "--port", "0")
    yield server.wait_for(r"serving .* on (ws://[^/]+)/ws")[1]
    server.interrupt()
    server.finish()


@pytest.fixture(scope="session")
def fixtures(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that pages may name before they make them: captures, results of a load test, a sound."""
    folder = tmp_path_factory.mktemp("fixtures")
    capture = folder / "capture.mcap"
    code, _, errors = run("record", f"{address}/ws", capture, "--duration", "1.5")
    assert code == 0, errors
    results = ROOT / "tests" / "loadtest" / "results" / "golden" / "loadtest-no-gates.json"
    for name in ("results.json", "a.json", "b.json", "base.json"):
        shutil.copy(results, folder / name)
    soundfile.write(folder / "hello.wav", np.zeros(8_000), 16_000)
    with open_writer(folder / "own.mcap", metadata={}) as writer:
        for number, captured in enumerate(open_capture(capture)):
            assert captured.arrival_ns is not None
            writer.write(captured.payload, captured.arrival_ns)
            drag = encode(NodeDrag(17, 10.0 * number, 0.0, 0.0))
            writer.write(drag, captured.arrival_ns + 1, direction=Direction.CLIENT, connection=1)
    return folder


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr("vfctl.loadtest.control.conductor.SETTLE_S", 0.1)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, address: str, fixtures: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path, address, fixtures)
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.note.startswith("not run: "):
            continue
        if block.file:
            reader.write(block)
        elif block.language == "python":
            reader.run_python(block, where)
        else:
            expected = re.match(r"exit code: (\d+)$", block.note)
            for command in block.commands:
                code, errors = reader.run_command(command)
                too_short = code == 3 and not expected and re.match(r"vfctl (loadtest|compare)", command)
                assert too_short or code == (int(expected[1]) if expected else 0), f"{where}: {command}\n{errors}"


def test_the_metrics_page_names_every_metric_of_a_server(address: str) -> None:
    with urllib.request.urlopen(f"{address.replace('ws', 'http')}/metrics", timeout=60) as answer:
        served = set(re.findall(r"^(vfctl_\w+?)\{", answer.read().decode(), re.MULTILINE))
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    named = set(re.findall(r"^\| `(vfctl_\w+)`", page.partition("## The load test")[0], re.MULTILINE))
    of_a_recording = {name for name in named if "record" in name}
    assert named - of_a_recording == served - of_a_recording
