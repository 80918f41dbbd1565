"""The display of a running load test: a live panel on a terminal, elsewhere a line every five seconds."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console, Group
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vfctl.loadtest.control.live import Status
from vfctl.metrics.histogram import Summary
from vfctl.quantities import format_byte_rate
from vfctl.terminal.live_display import LiveDisplay, sparkline

PLAIN_PERIOD_S: Final = 5.0
REDRAWS_PER_S: Final = 5
_ERRORS_SHOWN: Final = 3
_PERCENTILES: Final = ("p50", "p95", "p99")


class LoadtestDisplay(LiveDisplay):
    """Shows the progress of a run."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._stage: tuple[int, bool] | None = None

    def show(self, status: Status) -> None:
        """Redraw, or print a line, if it is time to."""
        now_s = time.monotonic()
        if self._console.is_terminal:
            if now_s >= self._next_s:
                self._next_s = now_s + 1 / REDRAWS_PER_S
                self._live.update(panel(status), refresh=True)
            return
        stage = (status.number, status.finishing)
        if stage != self._stage:
            self._stage, self._next_s = stage, now_s + PLAIN_PERIOD_S
            self._console.print(stage_line(status))
        elif now_s >= self._next_s:
            self._next_s = now_s + PLAIN_PERIOD_S
            self._console.print(escape(plain_line(status)))


def stage_line(status: Status) -> str:
    """The line at the start of a stage."""
    if status.finishing:
        return "collecting results"
    step = status.step
    measured = ", measured" if step.measured else ""
    figures = f"{step.clients:,} clients, {step.lasts_s:g} s{measured}"
    return f"stage {status.number + 1} of {status.count}: {step.name}, {figures}"


def plain_line(status: Status) -> str:
    """The progress of a run as one line."""
    parts = [f"{status.step.name} {status.elapsed_s:.0f}/{status.limit_s:.0f} s", _connected(status)]
    parts.append(f"{status.messages_per_s:,.0f} messages/s, {format_byte_rate(status.bytes_per_s)}")
    if status.last_second.count:
        parts.append("P50/P95/P99 " + " / ".join(_ms(status.last_second, name) for name in _PERCENTILES) + " ms")
    parts += [f"{count:,} × {reason}" for reason, count in status.errors.most_common(_ERRORS_SHOWN)]
    return ", ".join(parts)


def panel(status: Status) -> Group:
    """The live panel of a run."""
    step = status.step
    head = Table.grid(padding=(0, 1))
    title = "collecting results" if status.finishing else f"{step.name}{' (measured)' if step.measured else ''}"
    is_ramp = step.kind == "ramp"
    done = status.outcome.connected / max(1, status.outcome.target) if is_ramp else status.elapsed_s / status.limit_s
    head.add_row(
        f"[bold]{escape(title)}[/]",
        f"[dim]stage {status.number + 1} of {status.count}[/]",
        ProgressBar(total=100, completed=min(100, 100 * done), width=28),
        f"{status.elapsed_s:.0f} of {'at most ' if is_ramp else ''}{status.limit_s:.0f} s",
    )
    figures = Table.grid(padding=(0, 2))
    figures.add_row("clients", _connected(status))
    rates = f"{status.messages_per_s:,.0f} messages/s, {format_byte_rate(status.bytes_per_s)}"
    figures.add_row("rate", rates)
    for label, summary in (("last second", status.last_second), ("this stage", status.stage)):
        values = "   ".join(f"{name.upper()} {_ms(summary, name):>7}" for name in _PERCENTILES)
        figures.add_row(label, f"{values} ms" if summary.count else "[dim]no stamped frames yet[/]")
    if any(value is not None for value in status.history):
        worst = max(value for value in status.history if value is not None)
        bars = Text(sparkline(status.history, len(status.history)), style="cyan")
        figures.add_row("P95", bars + Text(f"  up to {worst:.1f} ms", "dim"))
    for reason, count in status.errors.most_common(_ERRORS_SHOWN):
        figures.add_row("[red]error[/]", f"{count:,} × {escape(reason)}")
    return Group(head, figures)


def _connected(status: Status) -> str:
    outcome = status.outcome
    text = f"{outcome.connected:,} of {outcome.target:,} connected"
    for count, word in ((outcome.failed, "failed"), (outcome.lost, "lost"), (outcome.away, "away")):
        if count:
            text += f", {count:,} {word}"
    return text


def _ms(summary: Summary, name: str) -> str:
    value = getattr(summary, name)
    return "–" if value is None else f"{value:.2f}"
