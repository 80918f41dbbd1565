"""`vfctl loadtest --ab`: two servers in one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from vfctl.cli.loadtest_reports import ReportPaths, write_reports
from vfctl.cli.loadtest_session import end
from vfctl.terminal.output import people, say

if TYPE_CHECKING:
    from vfctl.cli.loadtest_session import Session
    from vfctl.loadtest.control.conductor import Stop
    from vfctl.loadtest.control.live import Status
    from vfctl.loadtest.results.build import Results
    from vfctl.loadtest.scenario.model import Scenario


def side_by_side(
    running: Session,
    urls: tuple[str, str],
    plan: Scenario,
    source_ip: str | None,
    reports: ReportPaths,
    baseline: dict[str, Any] | None,
    strict: bool,
) -> NoReturn:
    """Test both, compare them, report, and end the command.

    Raises:
        VfctlError: the run has failed; its reports are written.
    """
    from vfctl.loadtest.control.run import run_side_by_side
    from vfctl.loadtest.results.ab import ab_document

    def both(stop: Stop, on_status: Callable[[Status], None]) -> list[Results]:
        return run_side_by_side(
            plan, urls, say=say, on_status=on_status, stop=stop, source_ip=source_ip, baseline=baseline
        )

    results = running.show(both)
    document = ab_document(results, plan.all_gates, baseline)
    print_ab(document)
    write_reports(reports, document, results, strict=strict)
    end(ab_exit_code(document, strict), results)


def print_ab(document: dict[str, Any]) -> None:
    """Both servers in a table, then the gates and the answer, on stderr."""
    from rich.table import Table

    from vfctl.cli.loadtest_tables import gates_table
    from vfctl.loadtest.results.comparison import Comparison

    a, b = document["a"], document["b"]
    if a["failure"] and not a["stages"]:
        return  # nothing to show: the error says why
    table = Table("", "A", "B", title=f"{a['clients']['target']:,} clients each, {a['duration_s']:g} s")
    table.add_row("server", a["peer"], b["peer"])
    for name in ("p50", "p95", "p99", "max"):
        figures = (each["latency_ms"][name] for each in (a, b))
        table.add_row(f"latency {name} ms", *("–" if figure is None else f"{figure:.2f}" for figure in figures))
    table.add_row("messages/s", *(f"{each['throughput']['messages_per_s']:,.0f}" for each in (a, b)))
    table.add_row("failed or lost", *(f"{each['clients']['failed'] + each['clients']['lost']:,}" for each in (a, b)))
    people().print(table)
    if document["gates"]:
        people().print(gates_table(document["gates"]))
    for warning in document["warnings"]:
        say(f"careful: {warning}")
    if document["comparison"] is not None:
        people().print(Comparison(**document["comparison"]).sentence)
    if partial := a["aborted"] or a["interrupted"]:
        why = f"ended early by the gate {partial['expression']}" if a["aborted"] else "interrupted"
        say(f"the run was {why}: these are partial results")


def ab_exit_code(document: dict[str, Any], strict: bool) -> int:
    """3 if B is slower, one of its gates has failed or --strict finds fault; else 130 if interrupted, 4 if nothing was
    compared.
    """
    from vfctl.errors import EXIT_INTERRUPTED, EXIT_OK, GateError, PeerError

    comparison, both = document["comparison"], (document["a"], document["b"])
    failed = not all(gate["passed"] for gate in document["gates"])
    faulty = any(each["generator"]["advice"] or each["clients"]["failed"] or each["clients"]["lost"] for each in both)
    if failed or (strict and faulty) or (comparison is not None and comparison["verdict"] == "slower"):
        return GateError.exit_code
    if document["a"]["interrupted"]:
        return EXIT_INTERRUPTED
    return EXIT_OK if comparison is not None else PeerError.exit_code
