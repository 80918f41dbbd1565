"""`vfctl gate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfctl.terminal.output import data, say, until_reader_leaves


def command(
    results: Annotated[Path, typer.Argument(help="What `vfctl loadtest --json` has written.")],
    gate: Annotated[
        list[str],
        typer.Option(
            help="What has to hold, e.g. 'latency_ms.p95 <= 1.2 * baseline + 1ms'. Repeatable.", metavar="GATE"
        ),
    ],
    baseline: Annotated[
        Path | None, typer.Option(help="Results of an earlier run, for gates relative to it.", metavar="FILE")
    ] = None,
) -> None:
    """Judge the results of a load test later.

    Exit code 3 if a gate fails or has no data, 4 if the run failed or measured nothing.
    """
    from dataclasses import asdict

    from vfctl.cli.loadtest_tables import gates_table
    from vfctl.errors import EXIT_OK, GateError, PeerError
    from vfctl.loadtest.reports.figures import nothing_measured
    from vfctl.loadtest.results.comparable import check_same_test
    from vfctl.loadtest.results.file import read_results
    from vfctl.loadtest.results.gate_paths import check_path
    from vfctl.loadtest.scenario.gates import check_baseline, check_no_sides, judge, parse_gate

    gates = [parse_gate(expression) for expression in gate]
    check_no_sides(gates)
    document = read_results(results)
    for each in gates:
        check_path(each, document.get("roles"))
    earlier = read_results(baseline) if baseline is not None else None
    check_baseline(gates, earlier)
    if earlier is not None:
        check_same_test(earlier, document, ("the baseline", "these results"))
    verdicts = judge(gates, document, earlier)
    why = f"the run failed: {document['failure']}" if document.get("failure") else nothing_measured(document)
    if why:
        say(why)
    with until_reader_leaves():
        data().print(gates_table([asdict(verdict) for verdict in verdicts]))
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(GateError.exit_code)
    raise typer.Exit(PeerError.exit_code if why else EXIT_OK)
