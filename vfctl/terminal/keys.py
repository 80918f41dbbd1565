"""Single keys from a terminal, while a command runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def keys_to(handle: Callable[[bytes], None]) -> Iterator[bool]:
    """Hand over what is typed as it is typed, an arrow's bytes together; Ctrl-C stays what it is.

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


def one_by_one(typed: bytes) -> list[bytes]:
    """The keys of what was read at once: arrows with their bytes together."""
    return re.findall(rb"\x1b[\[O][A-D]|.", typed, re.DOTALL)


def _own_terminal() -> int | None:
    try:
        descriptor = sys.stdin.fileno()
        return descriptor if os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp() else None
    except (OSError, ValueError, AttributeError):
        return None
