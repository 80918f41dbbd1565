"""The results of a load test as people read them."""

from __future__ import annotations

import statistics
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from vfctl.loadtest.reports.figures import gate_limit, gate_value
from vfctl.quantities import format_byte_rate

_ERRORS_SHOWN: Final = 8


def results_tables(document: dict[str, Any]) -> list[Table]:
    """Latency and bandwidth, then roles and stages if there are several, then the gates."""
    tables = [_latency_table(document), _figures_table(document)]
    if len(document["roles"]) > 1:
        tables.append(_parts_table("role", document["roles"].items()))
    if sum(stage["measured"] for stage in document["stages"]) > 1 or len(document["stages"]) > 2:
        tables.append(_parts_table("stage", [(_stage_name(stage), stage) for stage in document["stages"]]))
    if document["spread"]:
        tables.append(_spread_table(document))
    if document["gates"]:
        tables.append(gates_table(document["gates"]))
    return tables


def _stage_name(stage: dict[str, Any]) -> str:
    return f"{stage['name']}, {stage['duration_s']:g} s" + (", measured" if stage["measured"] else "")


def _latency_table(document: dict[str, Any]) -> Table:
    table = Table(title=f"{document['clients']['target']:,} clients, {document['duration_s']:g} s")
    table.add_column("ms")
    columns = ("p50", "p95", "p99", "max", "mean")
    for column in columns:
        table.add_column(column.upper() if column.startswith("p") else column, justify="right")
    for label, key, always in (
        ("latency", "latency_ms", True),
        ("against the schedule", "latency_corrected_ms", True),
        ("voice, mouth to ear", "voice_ms", False),
        ("connect", "connect_ms", True),
        ("back after a loss", "reconnect_ms", False),
    ):
        summary = document[key]
        if summary["count"] or always:
            table.add_row(label, *(_ms(summary[column]) for column in columns))
    return table


def _figures_table(document: dict[str, Any]) -> Table:
    clients, throughput, frames = document["clients"], document["throughput"], document["frames"]
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column("", style="dim")
    each = f"{throughput['messages_per_s_per_client']:.2f}/s a client"
    table.add_row("messages", f"{throughput['messages_per_s']:,.0f}/s", each)
    each = f"{format_byte_rate(throughput['bytes_per_s_per_client'])} a client"
    table.add_row("bandwidth", format_byte_rate(throughput["bytes_per_s"]), each)
    wrong = f", [red]{frames['wrong']:,} wrong[/]" if frames["wrong"] else ""
    table.add_row("frames", f"{frames['received']:,}", f"{frames['gaps']:,} missing{wrong}")
    away = f", {clients['away']:,} away" if clients["away"] else ""
    table.add_row(
        "clients",
        f"{clients['connected']:,}",
        f"of {clients['target']:,}; {clients['failed']:,} failed, {clients['lost']:,} lost{away}, "
        f"{clients['reconnects']:,} reconnects",
    )
    clock = document["clock"]
    if clock["corrected_by_ms"]:
        error = f"is the server's ahead, ± {clock['error_ms']:.3f} ms; corrected"
        table.add_row("clock", f"{clock['offset_ms']:+,.3f} ms", error)
    _add_generator(table, document["generator"])
    for reason, count in list(document["errors"].items())[:_ERRORS_SHOWN]:
        table.add_row("[red]error[/]", f"{count:,}", escape(reason))
    if not document["latency_ms"]["count"] and throughput["messages_per_s"]:
        table.add_row("latency", "none", "the server sends no TIMED frames")
    return table


def _add_generator(table: Table, generator: dict[str, Any]) -> None:
    processes = f"in {generator['processes']} process{'es' if generator['processes'] != 1 else ''}"
    table.add_row("generator", f"{generator['cpu_percent']:.0f} % CPU", processes)
    if generator["advice"]:
        table.add_row("verdict", "[red]invalid[/]", "")
        table.add_row("", escape(generator["verdict"]), escape(generator["advice"]))
    else:
        table.add_row("verdict", f"[green]{generator['verdict']}[/]", "")


def _parts_table(title: str, parts: Any) -> Table:
    """One row for each role or stage."""
    table = Table()
    table.add_column(title, overflow="fold")
    for name in ("clients", "msgs/s", "P50 ms", "P95 ms", "P99 ms", "missing", "lost"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, part in parts:
        latency, clients = part["latency_ms"], part["clients"]
        table.add_row(
            escape(name),
            f"{clients['connected']:,}",
            f"{part['throughput']['messages_per_s']:,.0f}",
            *(_ms(latency[column]) for column in ("p50", "p95", "p99")),
            f"{part['frames']['gaps']:,}",
            f"{clients['lost'] + clients['failed']:,}",
        )
    return table


def _spread_table(document: dict[str, Any]) -> Table:
    """How far apart the runs are: what a single one is worth."""
    table = Table(title=f"{len(document['runs'])} runs; the figures above are their medians")
    for name in ("", "least", "median", "most", "by run"):
        table.add_column(name, justify="left" if name in ("", "by run") else "right")
    for label, path in _SPREAD_SHOWN.items():
        spread = document["spread"].get(path)
        if spread is not None:
            figures = (spread["min"], statistics.median(spread["values"]), spread["max"])
            values = ", ".join(f"{value:,.2f}" for value in spread["values"])
            table.add_row(label, *(f"{figure:,.2f}" for figure in figures), values)
    return table


_SPREAD_SHOWN: Final = {
    "latency P50 ms": "latency_ms.p50",
    "latency P95 ms": "latency_ms.p95",
    "latency P99 ms": "latency_ms.p99",
    "connect P95 ms": "connect_ms.p95",
    "messages/s": "throughput.messages_per_s",
}


def gates_table(gates: list[dict[str, Any]]) -> Table:
    """What each gate says."""
    table = Table("gate", "value", "limit", "", title="gates")
    for gate in gates:
        value = gate["reason"] or gate_value(gate)
        verdict = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
        table.add_row(escape(gate["expression"]), value, gate_limit(gate), verdict)
    return table


def search_table(document: dict[str, Any], unit: str) -> Table:
    """What a search has tried and found."""
    load = document["load"]
    title = f"not even the lowest load holds: {unit}" if load is None else f"the highest that holds: {load:,g} {unit}"
    table = Table(title=title + (", which is the limit" if document["at_limit"] else ""))
    for name in (unit, "P50 ms", "P95 ms", "P99 ms", "messages/s", ""):
        table.add_column(name, justify="right")
    for probe in sorted(document["probes"], key=lambda probe: probe["load"]):
        results = probe["results"]
        latency = (_ms(results["latency_ms"][column]) for column in ("p50", "p95", "p99"))
        rate = f"{results['throughput']['messages_per_s']:,.0f}"
        table.add_row(f"{probe['load']:,g}", *latency, rate, "[green]holds[/]" if probe["held"] else "[red]does not[/]")
    return table


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
