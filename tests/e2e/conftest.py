"""Real `vfctl` processes on free ports."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vfctl.cli.app import run as run_command
from vfctl.terminal.output import stderr_console

LIMIT_S = 60.0
EXAMPLES = Path(__file__).parents[2] / "examples"


class Vfctl:
    """One running command; its stderr is collected as it comes."""

    def __init__(self, *arguments: str | Path, new_group: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vfctl", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=new_group,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        )
        self.errors = ""
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.errors += line.decode()
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Until stderr says so; fails at once if the command has ended without saying it."""

        def found() -> bool:
            return bool(re.search(pattern, self.errors)) or not self._reader.is_alive()

        with self._said:
            assert self._said.wait_for(found, LIMIT_S), f"{pattern!r} was not said:\n{self.errors}"
        match = re.search(pattern, self.errors)
        assert match, f"{pattern!r} was not said:\n{self.errors}"
        return match

    def finish(self) -> tuple[int, bytes]:
        """Exit code and stdout."""
        assert self.process.stdout is not None
        try:
            self.process.wait(LIMIT_S)
            output = self.process.stdout.read()
        finally:
            self.kill()
        return self.process.returncode, output

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def interrupt_group(self) -> None:
        """What a terminal does on Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(LIMIT_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that ends by itself. It runs here, which saves the second that a new
    process takes to import everything; what it starts are real processes.
    """
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    stderr_console.cache_clear()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = run_command(list(map(str, arguments)))
    stderr_console.cache_clear()
    written = [stream.detach().getvalue().decode() for stream in (output, errors)]  # type: ignore[attr-defined]
    return code, written[0], written[1]


def run_apart(*arguments: str | Path) -> tuple[int, str, str]:
    """The same in a process of its own."""
    command = Vfctl(*arguments)
    assert command.process.stdout is not None
    output = command.process.stdout.read()
    code, _ = command.finish()
    return code, output.decode(), command.errors


def wait_until_measuring(command: Vfctl, messages: int) -> None:
    """Until a load test with `--metrics-port 0` has received so many messages in its measured stage."""
    url = command.wait_for(r"metrics of this run are on (http://127\.0\.0\.1:\d+/metrics)")[1]
    command.wait_for(r"measured\n")
    first = None
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = re.search(r"^vfctl_loadtest_messages_total (\S+)", answer.read().decode(), re.MULTILINE)
        now = float(found[1]) if found else 0.0
        first = now if first is None else first
        if now - first >= messages:
            return
        time.sleep(0.05)
    raise AssertionError(f"no messages came:\n{command.errors}")


def spawned(parent: int) -> list[int]:
    """Its processes, in the order in which they were started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


REPORTS = ("json", "junit", "markdown", "html", "csv")


def report_options(folder: Path) -> list[str]:
    """Every report, each in a file of that name."""
    return [part for name in REPORTS for part in (f"--{name}", str(folder / name))]


Serve = Callable[..., str]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Start `vfctl serve …` or `vfctl replay …` on a free port; returns its URL. Stopped by Ctrl-C at the end."""
    with contextlib.contextmanager(_serving)() as start:
        yield start


def _serving() -> Iterator[Serve]:
    started: list[Vfctl] = []

    def start(*arguments: str | Path) -> str:
        command = Vfctl(*arguments, "--port", "0")
        started.append(command)
        return command.wait_for(r"serving .* on (ws://\S+)")[1]

    yield start
    for command in started:
        command.interrupt()
    for command in started:
        code, _ = command.finish()
        assert code == 0, command.errors


@pytest.fixture(autouse=True)
def _soon_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few clients have no backlog of handshakes that would have to be waited for."""
    monkeypatch.setattr("vfctl.loadtest.control.conductor.SETTLE_S", 0.1)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the bundled graph that never rests: 20 frames a second. One for all tests."""
    config = tmp_path_factory.mktemp("live") / "active.toml"
    config.write_text('[server]\nstate = "active"\n')
    with contextlib.contextmanager(_serving)() as start:
        yield start("serve", "--config", config)
