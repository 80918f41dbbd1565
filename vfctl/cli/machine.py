"""`vfctl doctor` and `vfctl noise`: what this machine can do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from vfctl.cli.loadtest_display import LoadtestDisplay
from vfctl.cli.options import MAIN, JsonOption
from vfctl.errors import PeerError
from vfctl.loadtest.control.conductor import Stop
from vfctl.loadtest.control.noise import measure, score
from vfctl.loadtest.control.preflight import preflight, read_limits
from vfctl.loadtest.generator.plan import LOOPBACK_EXAMPLE, REMOTE_EXAMPLE, source_addresses
from vfctl.loadtest.reports.as_data import render_json
from vfctl.loadtest.results.comparison import Question
from vfctl.loadtest.results.schema import NoiseScore
from vfctl.terminal.output import log_line, stderr_console, stdout_console, until_stdout_closes


def doctor(
    clients: Annotated[int, MAIN.count(help="Simulated clients that the machine must hold.", min=1)] = 50_000,
    frame_bytes: Annotated[
        int, MAIN.size("--frame-bytes", help="Size of a frame.", show_default="8856B, which is 316 nodes as raw")
    ] = 8_856,
    frames_per_s: Annotated[
        float, MAIN.rate("--rate", help="Frames per second to each client.", min=0.001, show_default="1")
    ] = 1.0,
    source_ip: Annotated[
        str | None,
        typer.Option(help="Addresses of this machine to connect from, for example 10.0.0.16/28.", metavar="CIDR"),
    ] = None,
    remote: Annotated[bool, typer.Option("--remote", help="The server runs on another machine.")] = False,
) -> None:
    """Check whether this machine can hold a load test, and print how to raise limits that are too low.

    Exit code 1 if a limit is too low.

    Examples:
        vfctl doctor --clients 20k
        vfctl doctor --remote --frame-bytes 64KiB --rate 20Hz
    """
    sources = source_addresses(REMOTE_EXAMPLE if remote else LOOPBACK_EXAMPLE, clients, source_ip)
    checks = preflight(
        clients,
        read_limits(),
        sources=max(1, len(sources)),
        server_here=not remote,
        frame_bytes=frame_bytes,
        frames_per_s=frames_per_s,
    )
    table = Table("", "needed", "there", "", title=f"{clients:,} clients")
    for check in checks:
        table.add_row(check.what, check.needed, check.available, "[green]ok[/]" if check.ok else "[red]too low[/]")
    failed = [check for check in checks if not check.ok]
    console = stdout_console()
    with until_stdout_closes():
        console.print(table)
        for check in failed:
            console.print(f"{check.what}: try  {escape(check.command)}")
    raise typer.Exit(1 if failed else 0)


def noise(
    json_output: JsonOption = False,
) -> None:
    """Measure for 20 s how much runs of one server differ on this machine, and which regressions they can show.

    Nothing else should run meanwhile that does not run during your tests.

    Examples:
        vfctl noise
        vfctl noise --json > noise.json
    """
    with LoadtestDisplay(stderr_console()) as display:
        runs, before, after = measure(log_line, display.show, Stop())
    if not all(run.latency_ms.count for run in runs):
        raise PeerError("a run has measured nothing")
    found = score(runs, before, after)
    with until_stdout_closes():
        if json_output:
            sys.stdout.write(render_json(found))
        else:
            _print(found)


def _print(found: NoiseScore) -> None:
    stdout_console().print(_table(found))
    p95 = found.latency_ms["p95"]
    shows = p95.detectable_ms
    differ_ms = max(Question().min_ms, p95.two_runs_differ_ms)
    steal = found.steal_percent
    taken = "" if steal is None else f"; {steal:g} % of the CPU time was taken by the host"
    stdout_console().print(f"batches started up to {found.scheduling_lag_p99_ms:.2f} ms late (P99){taken}")
    stdout_console().print(
        f"regressions of P95 that show: {shows['1']:.2f} ms between single runs, {shows['5']:.2f} ms with "
        f"--repeat 5. Two runs of one server differ by up to {p95.two_runs_differ_ms:.2f} ms: for single runs, "
        f"vfctl compare A B --min-ms {differ_ms:.2f}"
    )


def _table(found: NoiseScore) -> Table:
    title = f"{found.runs} runs of the same test, {found.clients} clients; ms"
    table = Table(title=title, caption="right: minimum detectable regression with this many runs on each side")
    table.add_column("latency")
    for name in ("least", "median", "most", "deviation"):
        table.add_column(name, justify="right")
    for repeat in found.latency_ms["p50"].detectable_ms:
        table.add_column(f"{repeat} run{'s' if repeat != '1' else ''}", justify="right")
    for name, figures in found.latency_ms.items():
        shown = (figures.min, figures.median, figures.max, figures.spread_ms)
        table.add_row(
            name.upper(),
            *(f"{figure:.2f}" for figure in shown),
            *(f"{figure:.2f}" for figure in figures.detectable_ms.values()),
        )
    return table
