"""What all child processes of the server share: how they report to their parent, and when they stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from vfctl.errors import EXIT_BUG, VfctlError
from vfctl.logs import set_up_child

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the process does while it starts."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has started.

    Attributes:
        detail: about the process, for people.
        device: what the physics computes on; None without physics.
    """

    detail: str
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The process has failed. Its parent raises the error."""

    error: VfctlError


class Parent:
    """The parent process, as its child sees it.

    Args:
        pipe: the child's end.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def report(self, report: Progress | Ready | Failed) -> None:
        """Send a report. It is lost if the parent has died."""
        try:
            self._pipe.send(report)
        except (BrokenPipeError, OSError):
            log.debug("the parent process has ended; lost report: %r", report)

    def stop_event(self) -> asyncio.Event:
        """An event of the running loop that is set when this process must stop: on SIGTERM, or when the parent dies."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)

        def on_pipe_closed() -> None:
            loop.remove_reader(self._pipe.fileno())
            stop.set()

        loop.add_reader(self._pipe.fileno(), on_pipe_closed)  # the parent never writes: readable means closed
        return stop


def run_process(main: Callable[[Parent], Coroutine[Any, Any, None]], pipe: Connection, name: str) -> None:
    """Run a process's coroutine to its end, on uvloop if it is installed.

    Ignores SIGINT: Ctrl-C on a terminal reaches the whole process group, and only the parent decides what it means.

    Args:
        main: the coroutine function.
        pipe: the child's end of the pipe to the parent.
        name: of the process, for log lines.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_up_child(name)
    parent = Parent(pipe)
    gc.freeze()  # imported modules stay, so garbage collections need not visit them
    try:
        _runner()(main(parent))
    except VfctlError as error:
        parent.report(Failed(error))
        sys.exit(error.exit_code)
    except Exception as error:
        log.exception("unexpected error")
        parent.report(Failed(VfctlError(f"the {name} process failed: {type(error).__name__}: {error}")))
        sys.exit(EXIT_BUG)


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run
