"""Standard streams that whoever started us has closed (`vfctl … >&-`): Python has None in their place."""

from __future__ import annotations

import os
import sys


def open_closed_streams() -> None:
    """Put something in their place: nothing can be read, what is written to stdout fails (it would be lost unsaid), and
    what is said on stderr goes nowhere. Their descriptors are taken, so that no file or socket gets one of them."""
    for fd, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, flags)  # the lowest that is free, which is this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, "r", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
