"""Keys from a terminal, and displays that redraw on one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live

_BARS: Final = "▁▂▃▄▅▆▇█"


class LiveDisplay:
    """Draws on a terminal inside its `with` block, and leaves nothing behind.

    Args:
        console: on stderr; without a terminal the picture is not drawn, and subclasses print lines instead.
        whole_screen: the picture takes the terminal's other screen, and all of it.
    """

    def __init__(self, console: Console, *, whole_screen: bool = False) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False, screen=whole_screen)
        self._next_s = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


@contextlib.contextmanager
def read_keys(handle: Callable[[bytes], None]) -> Iterator[bool]:
    """Call `handle` with each key as it is typed; an arrow is several bytes. Ctrl-C still interrupts.

    Only where stdin is a terminal that is ours (not in the background, where touching it would stop us).

    Returns:
        whether keys are listened to.
    """
    descriptor = _own_terminal()
    if descriptor is None:
        yield False
        return
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def read() -> None:
        typed = os.read(descriptor, 64)
        if typed:
            handle(typed)
        else:
            loop.remove_reader(descriptor)

    tty.setcbreak(descriptor, termios.TCSADRAIN)  # what has been typed already counts, too
    loop.add_reader(descriptor, read)
    try:
        yield True
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def split_keys(typed: bytes) -> list[bytes]:
    """Split what was read at once into keys; an arrow is several bytes."""
    return re.findall(rb"\x1b[\[O][A-D]|.", typed, re.DOTALL)


def _own_terminal() -> int | None:
    try:
        descriptor = sys.stdin.fileno()
        return descriptor if os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp() else None
    except (OSError, ValueError, AttributeError):
        return None


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Bars for the newest `width` values, from 0 to the largest; a space where there is none."""
    shown = list(values)[-width:] if width > 0 else []
    largest = max((value for value in shown if value is not None), default=0.0)
    return "".join(
        " " if value is None else _BARS[round(value / largest * (len(_BARS) - 1)) if largest else 0] for value in shown
    )
