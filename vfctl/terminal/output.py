"""Where things are printed: stdout is data, stderr is for people."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from vfctl.errors import VfctlError


@functools.cache
def people() -> Console:
    """The console on stderr; plain where that is no terminal, without colour where NO_COLOR is set.

    There is one, since only its own lines go above a live display instead of into it.
    """
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def data() -> Console:
    """A console on stdout, for tables that people asked for as a command's result; within `until_reader_leaves`."""
    from rich.console import Console

    class Data(Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would exit with 1, whatever the command has to say

    return Data(highlight=False, soft_wrap=not sys.stdout.isatty())


def say(line: str) -> None:
    """One line to people."""
    if not sys.stderr.isatty():  # where it is plain, and nothing is live that it could get into
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        return
    from rich.markup import escape

    people().print(f"[dim]{escape(line)}[/dim]")


def complain(error: VfctlError) -> None:
    """An expected failure: what happened, and what to do about it."""
    from rich.markup import escape

    console = people()
    console.print(f"[bold red]error:[/] {escape(error.message)}")
    if error.hint:
        console.print(f"[dim]hint:[/]  {escape(error.hint)}")


@contextlib.contextmanager
def until_reader_leaves() -> Iterator[None]:
    """For long output: whoever reads it may have seen enough (`… | head`), which is no error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit would flush into the pipe again
    except OSError as error:
        from vfctl.errors import InputError

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(f"cannot write to stdout: {error.strerror}") from None


def check_duration(duration_s: float | None) -> None:
    """Refuse a --duration that is no time.

    Raises:
        UsageError: not positive, or not finite.
    """
    from vfctl.errors import UsageError

    if duration_s is not None and not (math.isfinite(duration_s) and duration_s > 0):
        raise UsageError(f"--duration is {duration_s:g}, it takes a positive number of seconds")
