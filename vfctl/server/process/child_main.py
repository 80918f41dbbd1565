"""What the server's processes have in common: how they report to their parent, and when they end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from vfctl.errors import EXIT_BUG, VfctlError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a process is doing while it starts."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The process does its work from now on.

    Attributes:
        detail: what people want to know of it.
        device: what the physics computes on; none where there is no physics.
    """

    detail: str
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The process cannot do its work; its parent raises this."""

    error: VfctlError


class Parent:
    """The process that started this one."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def report(self, what: Progress | Ready | Failed) -> None:
        """Tell it; a parent that has gone cannot be told."""
        try:
            self._pipe.send(what)
        except (BrokenPipeError, OSError):
            log.debug("the parent has gone, %r is not told", what)

    def gone(self) -> asyncio.Event:
        """An event of the running loop that is set when we shall end: by SIGTERM, or because the parent died."""
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ending.set)

        def end_of_pipe() -> None:
            loop.remove_reader(self._pipe.fileno())
            ending.set()

        loop.add_reader(self._pipe.fileno(), end_of_pipe)  # the parent never writes: readable means closed
        return ending


def run_process(main: Callable[[Parent], Coroutine[Any, Any, None]], pipe: Connection, name: str) -> None:
    """Run a process's coroutine to its end, on uvloop where there is one.

    Ctrl-C on a terminal reaches the whole process group; the parent alone decides what it means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format=f"vfctl {name}[{os.getpid()}]: %(message)s", stream=sys.stderr)
    parent = Parent(pipe)
    gc.freeze()  # what is imported by now stays; collections need not look at it again
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
