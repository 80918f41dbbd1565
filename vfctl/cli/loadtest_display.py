"""What a load test shows to people: a live line while it runs, tables when it is done."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from vfctl.cli.output import bytes_per_s

if TYPE_CHECKING:
    from vfctl.loadtest.run import Status

_PLAIN_PERIOD_S: Final = 5.0
_REDRAWS_PER_S: Final = 5
_STAGES: Final = {"ramp": "connecting", "measure": "measuring", "finish": "finishing"}


class LoadtestDisplay:
    """A progress bar on a terminal; elsewhere one plain line every five seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            refresh_per_second=_REDRAWS_PER_S,
        )
        self._task: TaskID | None = None
        self._stage = ""
        self._rate_from = (0.0, 0, 0)
        self._rates = "–"
        self._next_line_s = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, status: Status) -> None:
        """Take in where the run stands."""
        now_s = time.monotonic()
        since_s, messages, size = self._rate_from
        if now_s - since_s >= 1:
            if since_s:
                elapsed_s = now_s - since_s
                rate = (status.messages - messages) / elapsed_s
                self._rates = f"{rate:,.0f} messages/s, {bytes_per_s((status.bytes - size) / elapsed_s)}"
            self._rate_from = (now_s, status.messages, status.bytes)
        outcome = status.outcome
        figures = f"{outcome.connected:,} of {outcome.target:,} connected"
        if status.stage == "measure":
            figures += f", {self._rates}"
        if outcome.failed or outcome.lost:
            figures += f", {outcome.failed:,} failed, {outcome.lost:,} lost"
        label = _STAGES[status.stage]
        if not self._console.is_terminal:
            if status.stage != self._stage:
                self._stage, self._next_line_s = status.stage, now_s + _PLAIN_PERIOD_S
                self._console.print(f"{label}: {outcome.target:,} clients, at most {status.stage_s:g} s")
            elif now_s >= self._next_line_s:
                self._next_line_s = now_s + _PLAIN_PERIOD_S
                self._console.print(f"{label}: {figures}")
            return
        if self._task is None:
            self._task = self._progress.add_task(label, figures=figures)
        done = (
            outcome.connected / max(1, outcome.target) if status.stage == "ramp" else status.elapsed_s / status.stage_s
        )
        self._progress.update(self._task, description=label, completed=100 * done, total=100, figures=figures)


def results_tables(document: dict[str, Any]) -> list[Table]:
    """The results as people read them: latency and bandwidth, then the clients, then the gates."""
    tables = [_latency_table(document), _figures_table(document)]
    if document["gates"]:
        tables.append(_gates_table(document["gates"]))
    return tables


def _latency_table(document: dict[str, Any]) -> Table:
    table = Table(title=f"{document['clients']['target']:,} clients, {document['duration_s']:g} s")
    table.add_column("ms")
    columns = ("p50", "p95", "p99", "max", "mean")
    for column in columns:
        table.add_column(column.upper() if column.startswith("p") else column, justify="right")
    for label, key in (
        ("latency", "latency_ms"),
        ("against the schedule", "latency_corrected_ms"),
        ("connect", "connect_ms"),
    ):
        summary = document[key]
        values = ["–" if summary[column] is None else f"{summary[column]:.2f}" for column in columns]
        table.add_row(label, *values)
    return table


def _figures_table(document: dict[str, Any]) -> Table:
    clients, throughput = document["clients"], document["throughput"]
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column("", style="dim")
    table.add_row(
        "messages",
        f"{throughput['messages_per_s']:,.0f}/s",
        f"{throughput['messages_per_s_per_client']:.2f}/s a client",
    )
    table.add_row(
        "bandwidth",
        bytes_per_s(throughput["bytes_per_s"]),
        f"{bytes_per_s(throughput['bytes_per_s_per_client'])} a client",
    )
    table.add_row("frames", f"{document['frames']['received']:,}", f"{document['frames']['gaps']:,} missing")
    table.add_row(
        "clients",
        f"{clients['connected']:,}",
        f"of {clients['target']:,}; {clients['failed']:,} failed, {clients['lost']:,} lost, "
        f"{clients['reconnects']:,} reconnects",
    )
    generator = document["generator"]
    table.add_row(
        "generator",
        f"{generator['cpu_percent']:.0f} % CPU",
        f"in {generator['processes']} process{'es' if generator['processes'] != 1 else ''}",
    )
    table.add_row("verdict", f"[green]{generator['verdict']}[/]" if not generator["advice"] else "[red]invalid[/]", "")
    if generator["advice"]:
        table.add_row("", escape(generator["verdict"]), escape(generator["advice"]))
    for reason, count in list(document["errors"].items())[:5]:
        table.add_row("[red]error[/]", f"{count:,}", escape(reason))
    if not document["latency_ms"]["count"] and throughput["messages_per_s"]:
        table.add_row("latency", "none", "the server sends no TIMED frames")
    return table


def _gates_table(gates: list[dict[str, Any]]) -> Table:
    table = Table("gate", "value", "", title="gates")
    for gate in gates:
        value = "no data" if gate["value"] is None else f"{gate['value']:g}"
        table.add_row(escape(gate["expression"]), value, "[green]passed[/]" if gate["passed"] else "[red]failed[/]")
    return table
