"""What `vfctl layout` shows while it computes: a bar on a terminal, elsewhere a line every five seconds."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from vfctl.terminal.live_display import LiveDisplay

if TYPE_CHECKING:
    from vfctl.physics.layout import LayoutProgress

PLAIN_FIRST_S: Final = 1.0
"""What is done sooner needs no line."""

PLAIN_PERIOD_S: Final = 5.0
REDRAWS_PER_S: Final = 10


class LayoutDisplay(LiveDisplay):
    """Shows how far a layout has come."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._began_s = time.monotonic()
        if not console.is_terminal:
            self._next_s = self._began_s + PLAIN_FIRST_S

    def show(self, progress: LayoutProgress) -> None:
        """Take in how far it is; as often as you like."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        if self._console.is_terminal:
            self._next_s = now_s + 1 / REDRAWS_PER_S
            self._live.update(bar(progress, now_s - self._began_s), refresh=True)
        else:
            self._next_s = now_s + PLAIN_PERIOD_S
            self._console.print(plain_line(progress, now_s - self._began_s))


def bar(progress: LayoutProgress, elapsed_s: float) -> Table:
    """The live picture: how far on the way to rest, in one line of 80 columns."""
    shown = Table.grid(padding=(0, 1))
    way = ProgressBar(total=1.0, completed=progress.share, width=24)
    shown.add_row("settling", way, f"[dim]{_figures(progress, elapsed_s)}[/]")
    return shown


def plain_line(progress: LayoutProgress, elapsed_s: float) -> str:
    """The same without a terminal."""
    return f"settling, {100 * progress.share:.0f} % of the way: {_figures(progress, elapsed_s)}"


def _figures(progress: LayoutProgress, elapsed_s: float) -> str:
    speed = math.sqrt(2 * progress.energy) if progress.energy >= 0 else math.nan
    rate = f", {progress.steps / elapsed_s:,.0f}/s" if elapsed_s > 0 else ""
    return f"{progress.steps:,} steps{rate}, speed {speed:.2g} units/s"
