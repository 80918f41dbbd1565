"""Tables of the results of a load test."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

from rich.markup import escape
from rich.table import Table

from vfctl.loadtest.reports.wording import gate_limit, gate_value, latencies
from vfctl.loadtest.results.model import (
    FindResults,
    GateVerdict,
    Generator,
    LoadtestResults,
    RoleMetrics,
    Stage,
)
from vfctl.quantities import format_byte_rate

_ERRORS_SHOWN: Final = 8
_PERCENTILES: Final = ("p50", "p95", "p99")


def results_tables(results: LoadtestResults) -> list[Table]:
    """Latency and bandwidth, then roles and stages if there are several, then the gates."""
    tables = [_latency_table(results), _metrics_table(results)]
    if len(results.roles) > 1:
        tables.append(_parts_table("role", results.roles.items()))
    if sum(stage.measured for stage in results.stages) > 1 or len(results.stages) > 2:
        tables.append(_parts_table("stage", ((_stage_name(stage), stage) for stage in results.stages)))
    if results.spread:
        tables.append(_spread_table(results))
    if results.gates:
        tables.append(gates_table(results.gates))
    return tables


def _stage_name(stage: Stage) -> str:
    return f"{stage.name}, {stage.duration_s:g} s" + (", measured" if stage.measured else "")


def _latency_table(results: LoadtestResults) -> Table:
    table = Table(title=f"{results.clients.target:,} clients, {results.duration_s:g} s")
    table.add_column("ms")
    columns = (*_PERCENTILES, "max", "mean")
    for column in columns:
        table.add_column(column.upper() if column in _PERCENTILES else column, justify="right")
    for label, (latency,) in latencies(results).items():
        table.add_row(label, *(milliseconds(getattr(latency, column)) for column in columns))
    return table


def _metrics_table(results: LoadtestResults) -> Table:
    clients, throughput, frames, clock = results.clients, results.throughput, results.frames, results.clock
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column("", style="dim")
    each = f"{throughput.messages_per_s_per_client:.2f}/s per client"
    table.add_row("messages", f"{throughput.messages_per_s:,.0f}/s", each)
    each = f"{format_byte_rate(throughput.bytes_per_s_per_client)} per client"
    table.add_row("bandwidth", format_byte_rate(throughput.bytes_per_s), each)
    wrong = f", [red]{frames.wrong:,} wrong[/]" if frames.wrong else ""
    table.add_row("frames", f"{frames.received:,}", f"{frames.gaps:,} missing{wrong}")
    away = f", {clients.away:,} away" if clients.away else ""
    table.add_row(
        "clients",
        f"{clients.connected:,}",
        f"of {clients.target:,}; {clients.failed:,} failed, {clients.lost:,} lost{away}, "
        f"{clients.reconnects:,} reconnects",
    )
    if clock.corrected_by_ms:
        error = f"server clock ahead, ± {clock.error_ms:.3f} ms; corrected"
        table.add_row("clock", f"{clock.offset_ms:+,.3f} ms", error)
    _add_generator(table, results.generator)
    for reason, count in list(results.errors.items())[:_ERRORS_SHOWN]:
        table.add_row("[red]error[/]", f"{count:,}", escape(reason))
    if not results.latency_ms.count and throughput.messages_per_s:
        table.add_row("latency", "none", "the server sends no TIMED frames")
    return table


def _add_generator(table: Table, generator: Generator) -> None:
    processes = f"in {generator.processes} process{'es' if generator.processes != 1 else ''}"
    table.add_row("generator", f"{generator.cpu_percent:.0f} % CPU", processes)
    if generator.advice:
        table.add_row("verdict", "[red]invalid[/]", "")
        table.add_row("", escape(generator.verdict), escape(generator.advice))
    else:
        table.add_row("verdict", f"[green]{generator.verdict}[/]", "")


def _parts_table(title: str, parts: Iterable[tuple[str, RoleMetrics | Stage]]) -> Table:
    """One row for each role or stage."""
    table = Table()
    table.add_column(title, overflow="fold")
    for name in ("clients", "msgs/s", "P50 ms", "P95 ms", "P99 ms", "missing", "lost"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, part in parts:
        table.add_row(
            escape(name),
            f"{part.clients.connected:,}",
            f"{part.throughput.messages_per_s:,.0f}",
            *(milliseconds(getattr(part.latency_ms, column)) for column in _PERCENTILES),
            f"{part.frames.gaps:,}",
            f"{part.clients.lost + part.clients.failed:,}",
        )
    return table


def _spread_table(results: LoadtestResults) -> Table:
    """How much the runs differ."""
    table = Table(title=f"{len(results.runs)} runs; the metrics above are their medians")
    for name in ("", "min", "median", "max", "by run"):
        table.add_column(name, justify="left" if name in ("", "by run") else "right")
    for label, path in _SPREAD_SHOWN.items():
        spread = (results.spread or {}).get(path)
        if spread is not None:
            shown = (spread.min, statistics.median(spread.values), spread.max)
            values = ", ".join(f"{value:,.2f}" for value in spread.values)
            table.add_row(label, *(f"{value:,.2f}" for value in shown), values)
    return table


_SPREAD_SHOWN: Final = {
    "latency P50 ms": "latency_ms.p50",
    "latency P95 ms": "latency_ms.p95",
    "latency P99 ms": "latency_ms.p99",
    "connect P95 ms": "connect_ms.p95",
    "messages/s": "throughput.messages_per_s",
}


def gates_table(gates: Sequence[GateVerdict]) -> Table:
    """The verdict of each gate."""
    table = Table("gate", "value", "limit", "", title="gates")
    for gate in gates:
        verdict = "[green]passed[/]" if gate.passed else "[red]failed[/]"
        table.add_row(escape(gate.expression), gate.reason or gate_value(gate), gate_limit(gate), verdict)
    return table


def search_table(found: FindResults, unit: str) -> Table:
    """The loads that a search tried, and the highest at which all gates passed."""
    load = found.load
    title = f"the gates failed even at the lowest load: {unit}" if load is None else f"highest load: {load:,g} {unit}"
    table = Table(title=title + (", which is the limit" if found.at_limit else ""))
    for name in (unit, "P50 ms", "P95 ms", "P99 ms", "messages/s", ""):
        table.add_column(name, justify="right")
    for probe in sorted(found.probes, key=lambda probe: probe.load):
        results = probe.results
        latency = (milliseconds(getattr(results.latency_ms, column)) for column in _PERCENTILES)
        rate = f"{results.throughput.messages_per_s:,.0f}"
        table.add_row(f"{probe.load:,g}", *latency, rate, "[green]passed[/]" if probe.held else "[red]failed[/]")
    return table


def milliseconds(value: float | None) -> str:
    """With two decimals; a dash where nothing was recorded."""
    return "–" if value is None else f"{value:.2f}"
