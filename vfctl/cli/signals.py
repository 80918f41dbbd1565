"""Handlers of SIGINT and SIGTERM that several commands share."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio


def stop_on_signals() -> asyncio.Event:
    """An event of the running loop that the first Ctrl-C sets, and SIGTERM. The second Ctrl-C stops at once."""
    import asyncio  # here, because commands without a loop start faster without it

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_interrupt() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    return stop


_AGAIN_S: Final = 0.2


@contextmanager
def clean_up_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the block with an exception, so that drafts are removed, and then the process.

    Python swallows an exception inside a finaliser or a callback, for example of an import. So a timer checks whether
    the exception is being handled, and raises it again if not.
    """

    class Terminated(BaseException):
        pass

    def stop(*_: object) -> None:
        handled = sys.exc_info()[1]
        while handled is not None and not isinstance(handled, Terminated):
            handled = handled.__context__
        if handled is None:
            raise Terminated

    def begin_to_stop(*_: object) -> None:
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, begin_to_stop)
    try:
        yield
    except Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, before)
