"""`vfctl gate`, `vfctl compare` and `vfctl schema`: result files of load tests."""

from __future__ import annotations

import json
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vfctl.cli.loadtest_tables import gates_table
from vfctl.errors import EXIT_OK, GateError, PeerError, UsageError
from vfctl.loadtest.reports.as_data import render_json
from vfctl.loadtest.reports.wording import nothing_measured
from vfctl.loadtest.results.comparable import check_comparable, check_same_test, latencies_of
from vfctl.loadtest.results.comparison import Question, compare_runs
from vfctl.loadtest.results.file import read_pair, read_results
from vfctl.loadtest.results.gate_verdicts import check_baseline, check_path, judge, metrics
from vfctl.loadtest.results.model import ComparisonDocument, LoadtestResults
from vfctl.loadtest.results.schema import DOCUMENTS, schema_of
from vfctl.loadtest.scenario.gates import Gate, parse_gate
from vfctl.loadtest.scenario.roles import ROLES
from vfctl.terminal.output import log_line, stdout_console, until_stdout_closes


def gate_metrics() -> list[str]:
    """Metrics that gates are often about, for completion: overall, and of each role."""
    names = ["latency_ms.p95", "latency_ms.p99", "clients.failed", "clients.lost", "frames.gaps", "errors.total"]
    known = set(metrics(LoadtestResults))
    return [name for name in names if name in known] + [f"roles.{role.role}.latency_ms.p95" for role in ROLES]


def checked_gate(expression: str) -> Gate:
    """Parse a gate. If both its metric and its unit are wrong, the error names the metric.

    Raises:
        UsageError: it is no gate, or there is no such metric.
    """
    try:
        return parse_gate(expression)
    except UsageError as error:
        try:
            without_unit = parse_gate(re.sub(r"(?<=\d)\s*[A-Za-zµ%/]+\s*$", "", expression))
        except UsageError:
            raise error from None
        check_path(without_unit)
        raise


def gate(
    results: Annotated[Path, typer.Argument(help="Results that `vfctl loadtest --json` wrote.", metavar="RESULTS")],
    gate: Annotated[
        list[str],
        typer.Option(
            help="What must hold, for example 'latency_ms.p95 <= 1.2 * baseline + 1ms'.",
            metavar="GATE",
            autocompletion=gate_metrics,
        ),
    ],
    baseline: Annotated[
        Path | None, typer.Option(help="Results of an earlier run, for gates relative to it.", metavar="FILE")
    ] = None,
) -> None:
    """Check gates against the results of an earlier load test.

    Exit code 3 if a gate fails or has no data, 4 if the run failed or measured nothing.

    Examples:
        vfctl gate results.json --gate 'latency_ms.p95 < 30ms' --gate 'clients.lost == 0'
        vfctl gate results.json --baseline main.json --gate 'latency_ms.p95 <= 1.2 * baseline'
    """
    gates = [checked_gate(expression) for expression in gate]
    found = read_results(results)
    for each in gates:
        check_path(each, found.roles)
    earlier = read_results(baseline) if baseline is not None else None
    check_baseline(gates, earlier is not None)
    if earlier is not None:
        check_same_test(earlier, found, ("the baseline", "these results"))
    verdicts = judge(gates, found, earlier)
    why = f"the run failed: {found.failure}" if found.failure else nothing_measured(found)
    if why:
        log_line(why)
    with until_stdout_closes():
        stdout_console().print(gates_table(verdicts))
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(GateError.exit_code)
    raise typer.Exit(PeerError.exit_code if why else EXIT_OK)


def compare(
    a: Annotated[Path, typer.Argument(help="Results to compare with, from `vfctl loadtest --json`.", metavar="A")],
    b: Annotated[
        Path | None,
        typer.Argument(
            help="Results that may be slower.", metavar="B", show_default="the second server of A, if A is from --ab"
        ),
    ] = None,
    percentile: Annotated[
        float, typer.Option(help="Percentile of latency to compare.", min=0.1, max=99.999, metavar="P")
    ] = 95.0,
    confidence: Annotated[
        float, typer.Option(help="Confidence level of the interval, in percent.", min=50, max=99.9, metavar="C")
    ] = 95.0,
    min_percent: Annotated[
        float, typer.Option(help="Smallest difference that matters, in percent of A.", min=0, metavar="X")
    ] = 5.0,
    min_ms: Annotated[
        float,
        typer.Option(help="Smallest difference that matters, in ms. The larger of both counts.", min=0, metavar="X"),
    ] = 0.2,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    report_only: Annotated[bool, typer.Option("--report-only", help="Exit code 0 even if B is slower.")] = False,
) -> None:
    """Test whether B is slower than A, with a bootstrap confidence interval on the difference of a percentile.

    Exit code 3 if B is slower, 1 if the two cannot be compared. Results of several runs (`vfctl loadtest --repeat`)
    show how much runs differ by chance. `vfctl noise` measures it for this machine.

    Examples:
        vfctl compare main.json branch.json
        vfctl compare main.json branch.json --percentile 99 --min-ms 1
    """
    (of_a, of_b), paired = read_pair(a, b)
    names = ("A", "B") if b is None else (str(a), str(b))
    runs_a, runs_b = latencies_of(of_a, names[0]), latencies_of(of_b, names[1])
    assert isinstance(of_a, LoadtestResults)
    assert isinstance(of_b, LoadtestResults)  # older ones have no latencies
    warnings = check_comparable(of_a, of_b)
    for warning in warnings:
        log_line(f"careful: {warning}")
    answer = compare_runs(runs_a, runs_b, Question(percentile, confidence, min_percent, min_ms), paired=paired)
    with until_stdout_closes():
        if json_output:
            document = ComparisonDocument(schema="vfctl.compare/1", **dict(answer), warnings=warnings)
            sys.stdout.write(render_json(document))
        else:
            stdout_console().print(answer.sentence)
    raise typer.Exit(GateError.exit_code if answer.verdict == "slower" and not report_only else EXIT_OK)


Document = StrEnum("Document", {name.upper(): name for name in DOCUMENTS})  # type: ignore[misc]


def schema(
    document: Annotated[
        Document,
        typer.Argument(
            help="Which document: ab and find are of `vfctl loadtest --ab` and `--find`.", metavar="DOCUMENT"
        ),
    ],
) -> None:
    """Print the JSON Schema of a document that vfctl writes.

    Examples:
        vfctl schema loadtest > loadtest.schema.json
    """
    with until_stdout_closes():
        sys.stdout.write(json.dumps(schema_of(document.value), indent=2) + "\n")
