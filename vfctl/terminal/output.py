"""Standard output and standard error: stdout carries data, stderr carries messages for people."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import Console

    from vfctl.errors import VfctlError


@functools.cache
def stderr_console() -> Console:
    """The console on stderr: plain if stderr is no terminal, without colour if NO_COLOR is set.

    There is one, since only its own lines go above a live display instead of into it.
    """
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def stdout_console() -> Console:
    """A console on stdout, for the tables that are a command's result; use it within `until_stdout_closes`."""
    from rich.console import Console

    class Data(Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would exit with 1, whatever the command has to say

    return Data(highlight=False, soft_wrap=not sys.stdout.isatty())


def log_line(line: str) -> None:
    """Print a line to stderr."""
    if not sys.stderr.isatty():  # where it is plain, and nothing is live that it could get into
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        return
    from rich.markup import escape

    stderr_console().print(f"[dim]{escape(line)}[/dim]")


def print_error(error: VfctlError) -> None:
    """Print an expected failure and its hint to stderr."""
    from rich.markup import escape

    console = stderr_console()
    console.print(f"[bold red]error:[/] {escape(error.message)}")
    if error.hint:
        console.print(f"[dim]hint:[/]  {escape(error.hint)}")


@contextlib.contextmanager
def until_stdout_closes() -> Iterator[None]:
    """Ignore a reader of stdout that stops reading (`… | head`). Any other failed write raises InputError."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit would flush into the pipe again
    except OSError as error:
        from vfctl.errors import InputError

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(f"cannot write to stdout: {error.strerror}") from None


def reopen_closed_streams() -> None:
    """Replace standard streams that are closed, for which Python has None.

    Nothing can be read from stdin. Writing to stdout fails, because the output would be lost silently. What is written
    to stderr is dropped. Their descriptors are taken, so that no file or socket gets one of them.
    """
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


def ignore_closed_stderr() -> None:
    """Drop messages when nobody reads stderr any more: results matter more, and rich and typer would exit with 1."""
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
