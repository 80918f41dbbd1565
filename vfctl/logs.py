"""Log lines of all processes: which level is printed, and in what form. Set up here and nowhere else.

Modules log with `logging.getLogger(__name__)`. Results and messages that a user must see are not log lines; the
command line prints them. The level comes from `vfctl --log-level`, or else from the environment variable `VFCTL_LOG`.
The command line sets the variable, so that child processes, which inherit it, print the same levels.
"""

from __future__ import annotations

import logging
import os
import sys
from enum import StrEnum
from typing import Final

VARIABLE: Final = "VFCTL_LOG"


class LogLevel(StrEnum):
    """The least severe lines that are printed."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def set_level(level: LogLevel | None) -> None:
    """Print log lines of this level and above, in this process and in child processes that start later.

    Args:
        level: None leaves Python's default, which prints warnings without a prefix.
    """
    if level is None:
        return
    os.environ[VARIABLE] = level.value
    _configure(level, "vfctl")


def set_up_child(name: str) -> None:
    """Set up a child process at its start. Every line names the process.

    Args:
        name: of the process, for example `gateway 0`.
    """
    try:
        level = LogLevel(os.environ.get(VARIABLE, LogLevel.WARNING))
    except ValueError:  # the parent has reported it
        level = LogLevel.WARNING
    _configure(level, f"vfctl {name}[{os.getpid()}]")


def _configure(level: LogLevel, prefix: str) -> None:
    detailed = level in (LogLevel.DEBUG, LogLevel.INFO)
    where = " %(levelname)s %(name)s" if detailed else ""
    logging.basicConfig(level=logging.WARNING, format=f"{prefix}{where}: %(message)s", stream=sys.stderr, force=True)
    # Only ours: libraries such as JAX log much at these levels.
    logging.getLogger("vfctl").setLevel(level.name)
