"""Progress of a long read: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from vfctl.quantities import format_size
from vfctl.terminal.output import log_line, stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LINE_EVERY_S: Final = 5.0
_BAR_EVERY_S: Final = 0.1
_BAR_AFTER_S: Final = 0.5
"""A shorter read shows no bar."""


class Progress:
    """Shows how far a file has been read.

    Args:
        what: what is being done, for example `decoding`.
        total_bytes: length of the file; None where that is not known.
        silent: show nothing, for output on the same terminal.
    """

    def __init__(self, what: str, total_bytes: int | None, *, silent: bool = False) -> None:
        self._what = what
        self._total_bytes = total_bytes
        self._silent = silent
        self._live = sys.stderr.isatty()
        self._started_s = time.monotonic()
        self._next_s = self._started_s + (_BAR_AFTER_S if self._live else LINE_EVERY_S)
        self._bar: Bar | None = None
        self._task: Any = None

    def __call__(self, offset: int) -> None:
        """Update the position, in bytes."""
        now_s = time.monotonic()
        if self._silent or now_s < self._next_s:
            return
        if self._live:
            self._show(offset)
            self._next_s = now_s + _BAR_EVERY_S
            return
        self._next_s = now_s + LINE_EVERY_S
        log_line(f"{self._what}: {self._far(offset)}, {now_s - self._started_s:.0f} s")

    def _far(self, offset: int) -> str:
        if not self._total_bytes:
            return format_size(offset)
        share = min(100, 100 * offset // self._total_bytes)
        return f"{share} % ({format_size(offset)} of {format_size(self._total_bytes)})"

    def _show(self, offset: int) -> None:
        if self._bar is None:
            from rich import progress  # here, because most reads are over before there is a bar

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
                console=stderr_console(),
                transient=True,
            )
            self._task = self._bar.add_task(self._what, total=self._total_bytes)
            self._bar.start()
        self._bar.update(self._task, completed=offset)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()
            self._silent = True

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def length_of(file: str) -> int | None:
    """Size of a regular file in bytes; None for anything else."""
    try:
        return None if file == "-" or not Path(file).is_file() else Path(file).stat().st_size
    except (OSError, ValueError):
        return None


def stdout_is_watched() -> bool:
    """Whether the output goes to the terminal, where a bar would mix with it."""
    return sys.stdout.isatty()
