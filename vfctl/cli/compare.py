"""`vfctl compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfctl.terminal.output import data, say, until_reader_leaves


def command(
    a: Annotated[Path, typer.Argument(help="Results to compare with, written by `vfctl loadtest --json`.")],
    b: Annotated[
        Path | None,
        typer.Argument(help="Results that may be slower. Left out if A is of `vfctl loadtest --ab`, which has both."),
    ] = None,
    percentile: Annotated[float, typer.Option(help="Of latency.", min=0.1, max=99.999, metavar="P")] = 95.0,
    confidence: Annotated[
        float, typer.Option(help="Of the interval on the difference, in percent.", min=50, max=99.9, metavar="C")
    ] = 95.0,
    min_percent: Annotated[
        float, typer.Option(help="The smallest difference that matters, in percent of A.", min=0, metavar="X")
    ] = 5.0,
    min_ms: Annotated[float, typer.Option(help="The same in ms; the larger of both counts.", min=0, metavar="X")] = 0.2,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")] = False,
    report_only: Annotated[bool, typer.Option("--report-only", help="Exit code 0 also if B is slower.")] = False,
) -> None:
    """Say whether B is slower than A, with a bootstrap confidence interval on the difference of a percentile.

    Exit code 3 if B is slower, 1 if the two cannot be compared. Files of several runs (`vfctl loadtest --repeat`)
    tell how much runs differ by themselves; `vfctl noise` tells what this machine can tell apart.
    """
    import json
    from dataclasses import asdict

    from vfctl.errors import EXIT_OK, GateError
    from vfctl.loadtest.results.comparable import check_comparable, runs_of
    from vfctl.loadtest.results.comparison import Question, compare_runs
    from vfctl.loadtest.results.file import read_pair

    documents, paired = read_pair(a, b)
    names = ("A", "B") if b is None else (str(a), str(b))
    runs_a, runs_b = (runs_of(document, name) for document, name in zip(documents, names, strict=True))
    warnings = check_comparable(*documents)
    for warning in warnings:
        say(f"careful: {warning}")
    answer = compare_runs(runs_a, runs_b, Question(percentile, confidence, min_percent, min_ms), paired=paired)
    with until_reader_leaves():
        if json_output:
            typer.echo(json.dumps({"schema": "vfctl.compare/1", **asdict(answer), "warnings": warnings}, indent=2))
        else:
            data().print(answer.sentence)
    raise typer.Exit(GateError.exit_code if answer.verdict == "slower" and not report_only else EXIT_OK)
