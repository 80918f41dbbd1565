"""Real `vfctl` processes on free ports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
    """Exit code, stdout and stderr of a command that ends by itself."""
    command = Vfctl(*arguments)
    output = b""
    assert command.process.stdout is not None
    output = command.process.stdout.read()
    code, _ = command.finish()
    return code, output.decode(), command.errors


Serve = Callable[..., str]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Start `vfctl serve …` or `vfctl replay …` on a free port; returns its URL. Stopped by Ctrl-C at the end."""
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


@pytest.fixture(scope="module")
def live(serve: Serve) -> str:
    """A server of the bundled graph."""
    return serve("serve")
