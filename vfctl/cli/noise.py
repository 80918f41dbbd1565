"""`vfctl noise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfctl.terminal.output import data, people, say, until_reader_leaves

if TYPE_CHECKING:
    from rich.table import Table


def command(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Measure for 20 s how much runs of one server differ on this machine, and say what regression they can show.

    Nothing else should run meanwhile that does not run during your tests.
    """
    import json

    from vfctl.cli.loadtest_display import LoadtestDisplay
    from vfctl.errors import PeerError
    from vfctl.loadtest.control.conductor import Stop
    from vfctl.loadtest.control.noise import measure, score

    with LoadtestDisplay(people()) as display:
        runs, before, after = measure(say, display.show, Stop())
    if not all(run.headline.latency.count for run in runs):
        raise PeerError("a run has measured nothing")
    document = score([run.to_json() for run in runs], before, after)
    with until_reader_leaves():
        if json_output:
            typer.echo(json.dumps(document, indent=2))
        else:
            _print(document)


def _print(document: dict[str, Any]) -> None:
    from vfctl.loadtest.results.comparison import Question

    data().print(_table(document))
    p95 = document["latency_ms"]["p95"]
    shows = p95["detectable_ms"]
    differ_ms = max(Question().min_ms, p95["two_runs_differ_ms"])
    steal = document["steal_percent"]
    taken = "" if steal is None else f"; {steal:g} % of the CPU time was taken by the host"
    data().print(f"batches began up to {document['scheduling_lag_p99_ms']:.2f} ms late (P99){taken}")
    data().print(
        f"regressions of P95 that show: {shows['1']:.2f} ms between single runs, {shows['5']:.2f} ms with "
        f"--repeat 5. Two runs of one server differ by up to {p95['two_runs_differ_ms']:.2f} ms: for single runs, "
        f"vfctl compare A B --min-ms {differ_ms:.2f}"
    )


def _table(document: dict[str, Any]) -> Table:
    from rich.table import Table

    title = f"{document['runs']} runs of the same test, {document['clients']} clients; ms"
    table = Table(title=title, caption="right: the regression that shows with so many runs on each side")
    table.add_column("latency")
    for name in ("least", "median", "most", "deviation"):
        table.add_column(name, justify="right")
    for repeat in document["latency_ms"]["p50"]["detectable_ms"]:
        table.add_column(f"{repeat} run{'s' if repeat != '1' else ''}", justify="right")
    for name, figures in document["latency_ms"].items():
        shown = (figures[key] for key in ("min", "median", "max", "spread_ms"))
        table.add_row(
            name.upper(),
            *(f"{figure:.2f}" for figure in shown),
            *(f"{figure:.2f}" for figure in figures["detectable_ms"].values()),
        )
    return table
