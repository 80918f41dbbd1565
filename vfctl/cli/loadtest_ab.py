"""`vfctl loadtest --ab`: two servers in one run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vfctl.cli.output import people, say

if TYPE_CHECKING:
    from vfctl.loadtest.results import Results
    from vfctl.loadtest.scenario import Scenario


def ab_document(plan: Scenario, results: list[Results], baseline: dict[str, Any] | None) -> dict[str, Any]:
    """The object of schema `vfctl.ab/1`; gates are judged on B, relative to A if there is no other baseline.

    `comparison` is None if there is too little to compare; `warnings` say why.
    """
    from vfctl.errors import InputError
    from vfctl.loadtest.comparable import check_comparable, runs_of
    from vfctl.loadtest.comparison import Question, compare_runs

    a = results[0].to_json()
    b = results[1].to_json(plan.gates, baseline if baseline is not None else a)
    comparison = None
    try:
        warnings = check_comparable(a, b)
        comparison = asdict(compare_runs(runs_of(a, "A"), runs_of(b, "B"), Question(), paired=True))
    except InputError as error:
        warnings = [error.message]
    return {"schema": "vfctl.ab/1", "comparison": comparison, "warnings": warnings, "a": a, "b": b}


def print_ab(document: dict[str, Any]) -> None:
    """Both servers in a table, then the gates and the answer, on stderr."""
    from rich.table import Table

    from vfctl.cli.loadtest_tables import gates_table
    from vfctl.loadtest.comparison import Comparison

    a, b = document["a"], document["b"]
    table = Table("", "A", "B", title=f"{a['clients']['target']:,} clients each, {a['duration_s']:g} s")
    table.add_row("server", a["peer"], b["peer"])
    for name in ("p50", "p95", "p99", "max"):
        figures = (each["latency_ms"][name] for each in (a, b))
        table.add_row(f"latency {name} ms", *("–" if figure is None else f"{figure:.2f}" for figure in figures))
    table.add_row("messages/s", *(f"{each['throughput']['messages_per_s']:,.0f}" for each in (a, b)))
    table.add_row("failed or lost", *(f"{each['clients']['failed'] + each['clients']['lost']:,}" for each in (a, b)))
    people().print(table)
    if b["gates"]:
        people().print(gates_table(b["gates"]))
    for warning in document["warnings"]:
        say(f"careful: {warning}")
    if document["comparison"] is not None:
        people().print(Comparison(**document["comparison"]).sentence)


def ab_exit_code(document: dict[str, Any], strict: bool) -> int:
    """3 if B is slower, one of its gates has failed or --strict finds fault; else 130 or 4 if nothing was compared."""
    from vfctl.errors import EXIT_INTERRUPTED, EXIT_OK, GateError, PeerError

    comparison, both = document["comparison"], (document["a"], document["b"])
    failed = not all(gate["passed"] for gate in document["b"]["gates"])
    faulty = any(each["generator"]["advice"] or each["clients"]["failed"] or each["clients"]["lost"] for each in both)
    if failed or (strict and faulty) or (comparison is not None and comparison["verdict"] == "slower"):
        return GateError.exit_code
    if comparison is None:
        return EXIT_INTERRUPTED if document["a"]["interrupted"] else PeerError.exit_code
    return EXIT_OK
