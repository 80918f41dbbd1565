"""The display of a running server: a live table on a terminal, elsewhere a line when something has changed."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rich.console import Console, RenderableType
from rich.table import Table

from vfctl.quantities import format_byte_rate
from vfctl.server.scoreboard import Scoreboard, Slot
from vfctl.terminal.live_display import LiveDisplay

PLAIN_PERIOD_S: Final = 10.0
REDRAWS_PER_S: Final = 2
MAX_ROWS: Final = 16
"""With more gateways only the total is shown, because the table would not fit on a screen."""

RATE_S: Final = 2.0
"""Window of the rates. A settled layout sends one frame per second to a client, so a shorter one would flicker."""


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway, or all of them.

    Attributes:
        clients, stalled, settled: see `Slot`.
        frames_per_s, bytes_per_s, skipped_per_s: of the last two seconds.
        interval_ms, target_interval_ms: current interval, and the target interval.
        tick_write_ms: time for the writes of a tick.
    """

    clients: int = 0
    frames_per_s: float = 0.0
    bytes_per_s: float = 0.0
    skipped_per_s: float = 0.0
    stalled: int = 0
    interval_ms: float = 0.0
    target_interval_ms: float = 0.0
    tick_write_ms: float = 0.0
    settled: bool = True

    def __add__(self, other: Row) -> Row:
        """Counts and rates are added, times are the maximum, and it is settled only if both are."""
        return Row(
            self.clients + other.clients,
            self.frames_per_s + other.frames_per_s,
            self.bytes_per_s + other.bytes_per_s,
            self.skipped_per_s + other.skipped_per_s,
            self.stalled + other.stalled,
            max(self.interval_ms, other.interval_ms),
            max(self.target_interval_ms, other.target_interval_ms),
            max(self.tick_write_ms, other.tick_write_ms),
            self.settled and other.settled,
        )


class Meter:
    """The rates of one gateway, from the metrics that it publishes."""

    def __init__(self) -> None:
        self._samples: deque[Slot] = deque()

    def row(self, slot: Slot) -> Row:
        """Add the current metrics (a copy that does not change), and return the row."""
        samples = self._samples
        if samples and samples[-1].began_us != slot.began_us:  # a restarted process counts from zero
            samples.clear()
        if not samples or slot.published_us > samples[-1].published_us:
            samples.append(slot)
        while len(samples) > 2 and slot.published_us - samples[1].published_us >= RATE_S * 1e6:
            samples.popleft()
        first, last = samples[0], samples[-1]
        per_s = 1e6 / (last.published_us - first.published_us) if last.published_us > first.published_us else 0.0
        return Row(
            slot.clients,
            (last.frames - first.frames) * per_s,
            (last.bytes - first.bytes) * per_s,
            (last.skipped - first.skipped) * per_s,
            slot.stalled,
            slot.interval_us / 1000,
            slot.target_interval_us / 1000,
            slot.tick_write_us / 1000,
            bool(slot.settled),
        )


class ServeDisplay(LiveDisplay):
    """Shows the metrics of a server."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._meters: dict[int, Meter] = {}
        self._began_s = time.monotonic()
        self._told: tuple[int, bool] | None = None

    def show(self, scoreboard: Scoreboard) -> None:
        """Redraw, or print a line, if it is time to; may be called at any rate."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        serving = {number: slot.copy() for number, slot in scoreboard.serving()}
        self._meters = {number: self._meters.get(number, Meter()) for number in serving}
        rows = {number: self._meters[number].row(slot) for number, slot in serving.items()}
        if self._console.is_terminal:
            self._next_s = now_s + 1 / REDRAWS_PER_S
            self._live.update(self.picture(table(rows, len(scoreboard), now_s - self._began_s)), refresh=True)
        else:
            self._next_s = now_s + PLAIN_PERIOD_S
            self._print_line(sum(rows.values(), Row()))

    def picture(self, table: Table) -> RenderableType:
        """What is drawn; subclasses add to the table."""
        return table

    @property
    def is_drawn(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._console.is_terminal

    def hurry(self) -> None:
        """Redraw at the next call of `show`."""
        self._next_s = 0.0

    def _print_line(self, total: Row) -> None:
        """Print a line if something has changed since the last call."""
        news = (total.clients, total.settled)
        if self._told not in (None, news):
            self._console.print(plain_line(total))
        self._told = news


def table(rows: dict[int, Row], gateways: int, uptime_s: float) -> Table:
    """The live table of a server.

    Args:
        rows: by number of the gateway; a missing one is starting.
        gateways: how many there should be.

    If the interval is longer than the target because of overload, the target follows in parentheses.
    """
    headings = ("gateway", "clients", "frames/s", "bytes/s", "every ms", "tick ms", "skips/s", "stalled")
    shown = Table(
        box=None, pad_edge=False, collapse_padding=True, title_style="dim", title_justify="left", header_style="dim"
    )  # in 80 columns
    shown.title = f"up for {timedelta(seconds=int(uptime_s))}"
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("layout", no_wrap=True)
    if gateways <= MAX_ROWS:
        for number in range(gateways):
            row = rows.get(number)
            shown.add_row(str(number), *(_cells(row) if row else ["[yellow]starting[/]"]))
    if gateways > 1:
        shown.add_row("all", *_cells(sum(rows.values(), Row())), style="bold")
    return shown


def plain_line(total: Row) -> str:
    """The metrics of a server as one line."""
    return (
        f"{total.clients:,} clients, {total.frames_per_s:,.0f} frames/s, {format_byte_rate(total.bytes_per_s)}, "
        f"every {total.interval_ms:,.0f} ms, {_layout(total)}"
    )


def _cells(row: Row) -> list[str]:
    late = row.interval_ms > row.target_interval_ms
    interval = f"{row.interval_ms:,.0f}"
    return [
        f"{row.clients:,}",
        f"{row.frames_per_s:,.0f}",
        format_byte_rate(row.bytes_per_s),
        f"[yellow]{interval}[/] ({row.target_interval_ms:,.0f})" if late else interval,
        f"{row.tick_write_ms:.1f}",
        f"{row.skipped_per_s:,.0f}",
        f"{row.stalled:,}",
        _layout(row),
    ]


def _layout(row: Row) -> str:
    return "settled" if row.settled else "active"
