"""Processes that a benchmark starts: their CPU time and memory, questions to them, and their end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
BUILD = HERE / "build"
VFCTL = Path(sys.executable).with_name("vfctl")


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, _read(thread).split())
    return found


def cpu_s(pids: Sequence[int]) -> dict[int, float]:
    """CPU time of processes, user and system, of all their threads.

    This is utime + stime of /proc/PID/stat without the rounding to 10 ms: clock_getcpuclockid(3) names a clock after a
    process so.
    """
    times = {}
    for pid in pids:
        try:
            times[pid] = time.clock_gettime(~pid << 3 | 2)
        except OSError:
            continue  # has ended
    return times


def spent_s(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU time between two calls of `cpu_s`; who has come in between counts from its start."""
    return sum(spent - before.get(pid, 0.0) for pid, spent in after.items())


def pss_kb(pids: Sequence[int]) -> int:
    """Memory of processes in KiB, of shared pages their part."""
    lines = "\n".join(_read(Path(f"/proc/{pid}/smaps_rollup")) for pid in pids).splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def compiled(source: str) -> Path:
    """The program made from benchmarks/`source`, compiled if it is older than that."""
    path, program = HERE / source, BUILD / Path(source).stem
    if not program.exists() or program.stat().st_mtime < path.stat().st_mtime:
        if not shutil.which("cc"):
            sys.exit(f"{source} needs a C compiler named cc: apt-get install gcc libc6-dev")
        BUILD.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-Wall", "-o", program, path, "-lm"], check=True)
    return program


def wait_until(what: str, there: Callable[[], bool], timeout_s: float, every_s: float = 0.1) -> None:
    """Ask every now and then.

    Raises:
        TimeoutError: it is not there in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not there():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(every_s)


class Running:
    """A program in a process group of its own, ended at the end of the `with` block.

    Args:
        quiet: show what it says on stderr only if it fails.
        interrupt: end it by Ctrl-C, not by the end of its stdin.
    """

    def __init__(
        self,
        *command: object,
        quiet: bool = False,
        interrupt: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._interrupt = interrupt
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said if quiet else None,
            start_new_session=True,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._said.close()

    @property
    def pids(self) -> list[int]:
        """The process and its descendants."""
        return tree(self.process.pid)

    def check(self) -> None:
        """See that it is still running.

        Raises:
            RuntimeError: it has ended; with the last that it said.
        """
        code = self.process.poll()
        if code is not None:
            self._said.seek(0)
            raise RuntimeError(f"ended with exit code {code}: {self._said.read().strip()[-300:]}")

    def line(self) -> str:
        """The next line that it prints.

        Raises:
            RuntimeError: it has ended.
        """
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.check()
        return line

    def stats(self) -> dict[str, int]:
        """Its answer to the line `stats`: the frame source, the receiver and the senders count."""
        return self.ask("stats")

    def ask(self, command: str) -> dict[str, Any]:
        """Its answer to a line, in JSON.

        Raises:
            RuntimeError: it has ended.
        """
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def end(self, timeout_s: float = 8.0) -> str:
        """Ask it to end, and kill it if it has not done so in time.

        Returns:
            What it has still printed; nothing at a second call.
        """
        if self.process.stdout.closed:
            return ""
        if self._interrupt and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.communicate()[0]


class Source(Running):
    """The frame source.

    Attributes:
        url: where it serves.
    """

    def __init__(self, *, processes: int, nodes: int, rate: float, delay_ms: float = 0.0) -> None:
        port = free_port()
        self.url = f"ws://127.0.0.1:{port}/ws"
        options = f"--port {port} --processes {processes} --nodes {nodes} --rate {rate} --delay-ms {delay_ms}"
        super().__init__(sys.executable, HERE / "frame_source.py", *options.split())
        self.line()  # all listen


def has_clients(server: Running, clients: int, generator: Running) -> Callable[[], bool]:
    """Whether so many are connected, for `wait_until`; RuntimeError if the generator has ended."""

    def there() -> bool:
        generator.check()
        return server.stats()["connections"] >= clients

    return there
