"""Standard streams that are closed: by whoever started us (`vfctl … >&-`), or while we work (`vfctl … 2>&1 | head`)."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def open_closed_streams() -> None:
    """Put something where Python has None: nothing can be read, what is written to stdout fails (it would be lost
    unsaid), and what is said on stderr goes nowhere. Their descriptors are taken, so that no file or socket gets one of
    them."""
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


def outlive_the_reader_of_stderr() -> None:
    """Go on when what is said on stderr cannot be written any more: the results are worth more than what is said of
    them, and rich and typer would end the process with 1."""
    old = sys.stderr
    # Without a buffer of bytes, as by `python -u`: a signal handler that says something would find it in use.
    unbuffered = _Lossy(2, "w", closefd=False)
    sys.stderr = io.TextIOWrapper(unbuffered, old.encoding, old.errors, line_buffering=True, write_through=True)


class _Lossy(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        left = memoryview(data).cast("B")
        size = left.nbytes
        while left:
            try:
                left = left[super().write(left) or left.nbytes :]
            except OSError:
                break
        return size
