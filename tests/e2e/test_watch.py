"""`vfctl watch` in a real terminal (pty), against real servers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from vfctl.server.options import LiveGraph, ServerOptions
from vfctl.server.process.launch import Server, launch

from .conftest import Vfctl, run_apart

ROWS, COLUMNS = 30, 100
LIMIT_S = 30.0
SOURCE = LiveGraph(generator="tree", nodes=60, keep_awake=True, device="cpu")


_AS_ITS_TERMINAL = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for standard in range(3):
    os.dup2(fd, standard)
os.execv(sys.executable, [sys.executable, "-m", "vfctl", *sys.argv[2:]])
"""
"""pty.fork() would do, but this process has threads (JAX's). Who leads a session gets the terminal it opens first."""


class Terminal:
    """A pseudo-terminal with a command in it."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._fd, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # Not what C has: readline sets COLUMNS and LINES there.
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        command = [sys.executable, "-c", _AS_ITS_TERMINAL, os.ttyname(self._slave), *arguments]
        self._process = subprocess.Popen(command, env=kept | terminal | environment, start_new_session=True)
        self.pid = self._process.pid
        self.output = ""

    @property
    def screen(self) -> list[str]:
        """What was drawn last and whole, without colours."""
        frames = self.output.split("\x1b[H")
        last = frames[-2] if len(frames) > 2 else ""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).replace("\r", "").split("\n")

    def until(self, pattern: str, *, on_screen: bool = True) -> re.Match[str]:
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            found = re.search(pattern, "\n".join(self.screen) if on_screen else self.output)
            if found:
                return found
            assert self._read(0.2), f"it has ended without {pattern!r}:\n{self.output[-2000:]}"
        raise AssertionError(f"no {pattern!r} on the screen:\n" + "\n".join(self.screen))

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        """Its exit code, once it has ended by itself."""
        until_s = time.monotonic() + LIMIT_S
        while self._read(0.2):
            assert time.monotonic() < until_s, "it does not end"
        self.pid = 0
        return self._process.wait()

    def close(self) -> None:
        if self.pid:
            self._process.kill()
            self._process.wait()
        self._leave_it_to_the_child()
        os.close(self._fd)

    def _leave_it_to_the_child(self) -> None:
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return self._process.poll() is None
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            data = os.read(self._fd, 65_536)
            self.output += data.decode(errors="replace")
            self._leave_it_to_the_child()  # which has opened it by now
            return bool(data)
        return False


@contextlib.contextmanager
def terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    opened = Terminal(*arguments, **environment)
    try:
        yield opened
    finally:
        opened.close()


def served(port: int = 0) -> contextlib.AbstractContextManager[Server]:
    return launch(ServerOptions(source=SOURCE, port=port, workers=1))


def braille(lines: list[str]) -> int:
    return sum("⠀" < each <= "⣿" for line in lines for each in line)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as running:
        yield running


@pytest.mark.parametrize("encoding", ["raw", "compact"])
def test_the_graph_and_its_figures_are_drawn(server: Server, encoding: str) -> None:
    with terminal("watch", f"{server.url}?encoding={encoding}") as opened:
        opened.until(r"P95 \d+\.\d\d ms · \d\d\.\d updates/s, .* · 0 gaps · 60 nodes, 59 edges")
        first = opened.screen
        assert re.match(rf"● Connected  ws://127\.0\.0\.1:{server.port}/ws  {encoding} · active, every 50 ms", first[0])
        assert braille(first) > 20
        assert "\x1b[38;2;" in opened.output
        opened.type(b"c")
        opened.until(r"kind: ● ")
        opened.type(b"\x1b[A")
        opened.resize(14, 60)
        opened.until(r"\A(?:[^\n]{0,60}\n){13}[^\n]{0,60}\Z")
        opened.type(b"q")
        assert opened.end() == 0
        assert opened.output.count("\x1b[?1049h") == opened.output.count("\x1b[?1049l") == 1
        assert re.search(r"watched 60 nodes, 59 edges for", opened.output)


def test_a_server_that_dies_and_comes_back_and_dies_for_good() -> None:
    with contextlib.ExitStack() as stack:
        with served() as first:
            port = first.port
            opened = stack.enter_context(terminal("watch", first.url, NO_COLOR="1"))
            opened.until(r"● Connected")
        opened.until(r"● Reconnecting in \d\.\d s, retry \d \(")
        with served(port):
            opened.until(r"● Connected .* · 1 reconnect")
            opened.until(r"\d\d\.\d updates/s")
            assert "\x1b[38;" not in opened.output
        opened.until(r"● Reconnecting in \d\.\d s")
        os.kill(opened.pid, signal.SIGINT)
        assert opened.end() == 0


def test_a_server_that_is_not_there_when_the_time_is_over_has_gone_away() -> None:
    with served() as server:
        command = Vfctl("watch", server.url, "--duration", "3")
        with contextlib.suppress(urllib.error.URLError):
            while json.load(urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz"))["clients"] < 1:
                time.sleep(0.05)
    code, _ = command.finish()
    assert code == 4
    assert f"error: {server.url} is gone" in command.errors
    assert "watched 60 nodes" in command.errors


def test_without_a_terminal_there_are_lines(server: Server) -> None:
    code, output, errors = run_apart("watch", server.url, "--duration", "1.2")
    assert (code, output) == (0, "")
    (line,) = errors.splitlines()
    assert re.match(
        r"watched 60 nodes, 59 edges for 1\.\d s: \d\d updates, 0 gaps, active to the end · latency P50", line
    )
