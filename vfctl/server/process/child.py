"""A child process as its parent sees it: spawning, reports, exit."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from vfctl.errors import PeerError, VfctlError
from vfctl.server.process.child_main import Failed, Progress, Ready
from vfctl.server.process.restarts import HangDetector, RestartPolicy

STOP_TIMEOUT_S: Final = 5.0

_SPAWN = multiprocessing.get_context("spawn")  # never fork: JAX has threads, and so may our caller


def spawn(entry: Callable[..., None], *args: Any, name: str) -> tuple[SpawnProcess, Connection]:
    """Start `entry(*args, pipe)` in a new process.

    Ctrl-C on a terminal reaches the whole process group, and only the parent decides what it means. So SIGINT is
    blocked while the process starts. The process inherits that, and ignores SIGINT once its imports are done.

    Returns:
        The process, and the parent's end of the pipe.
    """
    ours, theirs = multiprocessing.Pipe()
    process = _SPAWN.Process(target=entry, args=(*args, theirs), name=f"vfctl {name}", daemon=True)
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
    theirs.close()
    return process, ours


class Child:
    """A process, and the pipe for its reports.

    Args:
        name: for messages.
        entry: the process runs `entry(*args, pipe)`.

    Attributes:
        process: of the operating system.
        pipe: the parent's end.
        ready: the process's report that it is ready; None before.
    """

    process: SpawnProcess
    pipe: Connection

    def __init__(self, name: str, entry: Callable[..., None], *args: Any) -> None:
        self.name = name
        self._entry = entry
        self._args = args
        self.start()

    def start(self) -> None:
        """Spawn the process, for the first time or again."""
        self.ready: Ready | None = None
        self.process, self.pipe = spawn(self._entry, *self._args, name=self.name)

    def receive(self, on_progress: Callable[[str], None] = lambda _: None) -> None:
        """Receive one report.

        Args:
            on_progress: called with the text of a Progress report.

        Raises:
            VfctlError: the process has failed, or has died without a report.
        """
        try:
            report = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(STOP_TIMEOUT_S)
            code = self.process.exitcode
            how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
            raise PeerError(f"the {self.name} process {how}") from None
        match report:
            case Progress(text):
                on_progress(text)
            case Ready():
                self.ready = report
            case Failed(error):
                raise error

    def exit_error(self, timeout_s: float) -> VfctlError | None:
        """Wait for a process that was told to stop.

        Args:
            timeout_s: time that it has.

        Returns:
            Why it has failed, or None if it has ended normally.
        """
        self.process.join(timeout_s)
        if self.process.exitcode == 0:
            return None
        try:
            while self.pipe.poll():
                self.receive()
        except VfctlError as error:
            return error
        return PeerError(f"the {self.name} process has not ended within {timeout_s:g} s")

    def end(self, timeout_s: float) -> None:
        """Wait for a process that was told to stop, and kill it if it is too slow.

        Args:
            timeout_s: time that it has.
        """
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


class GatewayChild(Child):
    """A gateway. It is restarted when it dies.

    Attributes:
        number: of the gateway.
        policy: decides about its restarts.
        hang_detector: detects that it hangs.
        restart_at_s: monotonic time of its restart; None while it lives.
    """

    def __init__(self, number: int, entry: Callable[..., None], *args: Any) -> None:
        self.number = number
        self.policy = RestartPolicy()
        self.hang_detector = HangDetector()
        self.restart_at_s: float | None = None
        super().__init__(f"gateway {number}", entry, *args)
