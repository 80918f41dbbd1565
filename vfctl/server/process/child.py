"""A process of the server as its parent sees it."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from vfctl.errors import PeerError, VfctlError
from vfctl.server.process.child_main import Failed, Progress, Ready
from vfctl.server.process.restarts import Pulse, RestartPolicy
from vfctl.server.process.spawn import spawn

STOP_TIMEOUT_S: Final = 5.0


class Child:
    """A process and the pipe that it reports on.

    Args:
        name: for people.
        entry: what it runs, with `args` and its end of the pipe.

    Attributes:
        ready: what it said when it was.
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

    def hear(self, on_progress: Callable[[str], None]) -> None:
        """Take in one report.

        Raises:
            VfctlError: it has failed, or died without a word.
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

    def last_words(self, timeout_s: float) -> VfctlError | None:
        """Why it has not ended well, once it has been told to end; None if it has.

        Args:
            timeout_s: how long it has for that.
        """
        self.process.join(timeout_s)
        if self.process.exitcode == 0:
            return None
        try:
            while self.pipe.poll():
                self.hear(lambda _: None)
        except VfctlError as error:
            return error
        return PeerError(f"the {self.name} process does not end")

    def end(self, timeout_s: float) -> None:
        """See that the process is gone: it has been told, and has so long."""
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


class GatewayChild(Child):
    """A gateway, which is started again when it dies.

    Attributes:
        number: of the gateway.
        policy: knows its deaths.
        pulse: knows whether it hangs.
        due_s: when it is to be started again, monotonic; None while it lives.
    """

    def __init__(self, number: int, entry: Callable[..., None], *args: Any) -> None:
        self.number = number
        self.policy = RestartPolicy()
        self.pulse = Pulse()
        self.due_s: float | None = None
        super().__init__(f"gateway {number}", entry, *args)
