"""Wrong command lines: what is wrong, and what was probably meant."""

from __future__ import annotations

import difflib
import sys
from typing import Any

import typer

from vfctl.errors import UsageError
from vfctl.terminal.output import print_error


def explain(error: typer.TyperException) -> int:
    """Print what is wrong with a command line; returns the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(error.format_message() + "\n")
    else:
        print_error(UsageError(error.format_message(), hint=_hint(error)))
    return error.exit_code


def _hint(error: Any) -> str | None:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help shows what it takes" if context else None


def closest(word: str, known: Any, count: int = 1) -> list[str]:
    """Names that are nearly the same as a word."""
    return difflib.get_close_matches(word, list(known), n=count)


def check_url(url: str | None) -> str | None:
    """Callback of arguments that take a server's URL."""
    return url


def check_output(path: Any) -> Any:
    """Callback of arguments that take a file to write."""
    return path
