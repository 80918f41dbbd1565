"""What a server shows while it runs: a live table on a terminal, elsewhere a line when something has changed."""

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
"""Beyond so many gateways only the total is shown: the table would not fit on a screen."""

RATE_S: Final = 2.0
"""Rates are of so much time: at rest a gateway serves each client once a second, and fewer would flicker."""


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway, or all of them.

    Attributes:
        clients, stalled, settled: see `Slot`.
        frames_per_s, bytes_per_s, skipped_per_s: of the last two seconds.
        interval_ms, target_interval_ms: present length of a round, and what it would be if there were time for it.
        tick_write_ms: what the writes of a tick take.
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
        """Counts and rates of both; the longer times; settled only if both are."""
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
    """The rates of one gateway, from what it has posted."""

    def __init__(self) -> None:
        self._posts: deque[Slot] = deque()

    def row(self, slot: Slot) -> Row:
        """Take in what the slot says now (a copy that stays as it is)."""
        posts = self._posts
        if posts and posts[-1].began_us != slot.began_us:  # another process, which counts from zero
            posts.clear()
        if not posts or slot.published_us > posts[-1].published_us:
            posts.append(slot)
        while len(posts) > 2 and slot.published_us - posts[1].published_us >= RATE_S * 1e6:
            posts.popleft()
        first, last = posts[0], posts[-1]
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
    """Shows how a server is doing."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._meters: dict[int, Meter] = {}
        self._began_s = time.monotonic()
        self._told: tuple[int, bool] | None = None

    def show(self, scoreboard: Scoreboard) -> None:
        """Take in what the gateways have counted; as often as you like."""
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
            self._tell(sum(rows.values(), Row()))

    def picture(self, table: Table) -> RenderableType:
        """What is drawn; more than the table where there is more to show."""
        return table

    @property
    def is_drawn(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._console.is_terminal

    def hurry(self) -> None:
        """Redraw the next time that `show` is called, however soon that is."""
        self._next_s = 0.0

    def _tell(self, total: Row) -> None:
        """A line if it is news; what the server begins with is none."""
        news = (total.clients, total.settled)
        if self._told not in (None, news):
            self._console.print(plain_line(total))
        self._told = news


def table(rows: dict[int, Row], gateways: int, uptime_s: float) -> Table:
    """The live picture of a server.

    Args:
        rows: by number of the gateway; one that is not there is being started.
        gateways: how many there should be.

    An interval that is longer than it should be for want of time has the right one behind it.
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
    """How a server is doing, in a line."""
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
