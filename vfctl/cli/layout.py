"""`vfctl layout`: compute a layout without a server."""

from __future__ import annotations

import io
import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from vfctl.cli.graph_options import (
    DeviceOption,
    GeneratorOption,
    GraphArgument,
    NodesOption,
    SeedOption,
    SetOption,
    live_graph,
    with_settings,
)
from vfctl.cli.options import MaxStepsOption, PlotOption
from vfctl.errors import EXIT_INTERRUPTED, UsageError
from vfctl.files import check_writable, replace_file
from vfctl.graph import Graph
from vfctl.graph.layout_file import PlacedGraph, format_of, write
from vfctl.graph.picture import draw, picture_format
from vfctl.physics import DEFAULT_PARAMETERS, PhysicsParameters
from vfctl.physics.device import Device, use_device
from vfctl.server.process.frame_source import build_graph
from vfctl.terminal.live_display import LiveDisplay
from vfctl.terminal.output import log_line, stderr_console, until_stdout_closes

if TYPE_CHECKING:
    from vfctl.physics.offline_layout import LayoutProgress  # loads JAX

PLAIN_FIRST_S: Final = 1.0
"""No line is printed for a computation that is faster."""

PLAIN_PERIOD_S: Final = 5.0
REDRAWS_PER_S: Final = 10


class LayoutDisplay(LiveDisplay):
    """Shows the progress of a layout: a bar on a terminal, elsewhere a line every five seconds."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._began_s = time.monotonic()
        if not console.is_terminal:
            self._next_s = self._began_s + PLAIN_FIRST_S

    def show(self, progress: LayoutProgress) -> None:
        """Redraw, or print a line, if it is time to; may be called at any rate."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        if self._console.is_terminal:
            self._next_s = now_s + 1 / REDRAWS_PER_S
            self._live.update(bar(progress, now_s - self._began_s), refresh=True)
        else:
            self._next_s = now_s + PLAIN_PERIOD_S
            self._console.print(plain_line(progress, now_s - self._began_s))


def bar(progress: LayoutProgress, elapsed_s: float) -> Table:
    """The bar, in one line of 80 columns."""
    shown = Table.grid(padding=(0, 1))
    way = ProgressBar(total=1.0, completed=progress.share, width=24)
    shown.add_row("settling", way, f"[dim]{_figures(progress, elapsed_s)}[/]")
    return shown


def plain_line(progress: LayoutProgress, elapsed_s: float) -> str:
    """The progress as text."""
    return f"settling, {100 * progress.share:.0f} % of the way: {_figures(progress, elapsed_s)}"


def _figures(progress: LayoutProgress, elapsed_s: float) -> str:
    speed = math.sqrt(2 * progress.energy) if progress.energy >= 0 else math.nan
    rate = f", {progress.steps / elapsed_s:,.0f}/s" if elapsed_s > 0 else ""
    return f"{progress.steps:,} steps{rate}, speed {speed:.2g} units/s"


def command(
    graph: GraphArgument = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write: .npz, .json (node-link) or .graphml; - is JSON on stdout.", metavar="FILE"),
    ] = None,
    plot: PlotOption = None,
    nodes: NodesOption = None,
    generator: GeneratorOption = None,
    seed: SeedOption = 0,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    max_steps: MaxStepsOption = 20_000,
) -> None:
    """Compute the layout of a graph without a server: run the physics until it settles, and write the positions.

    If the layout has not settled after --max-steps, it is written with `at_rest: false`, and the exit code is 1. Ctrl-C
    writes the present state in the same way, with exit code 130. The second Ctrl-C stops at once.

    Examples:
        vfctl layout graph.ttl --out positions.npz
        vfctl layout --nodes 5k --generator tree --plot tree.png --set rest_length=30
    """
    if out is None and plot is None:
        raise UsageError("there is nothing to write", hint="add --out positions.npz, or --plot picture.png")
    source = live_graph(graph, nodes, generator, seed)
    parameters = with_settings(DEFAULT_PARAMETERS, settings)
    format = format_of(out) if out is not None else ""
    picture = picture_format(plot) if plot is not None else ""
    for path in (out, plot):
        _check_target(path, graph)
    loaded = build_graph(source, lambda _: None)
    placed, interrupted = _compute(loaded, parameters, seed, max_steps, device)
    if out is not None:
        _save(out, lambda file: write(placed, file, format))
    if plot is not None:
        _save(plot, lambda file: draw(placed, file, picture))
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not placed.at_rest:
        raise typer.Exit(1)


def _check_target(path: Path | None, graph: Path | None) -> None:
    """Find out before the computation whether the result can be written."""
    if path is not None and str(path) != "-":
        check_writable(path, overwrite=True)
    if path is not None and graph is not None and path.exists() and graph.exists() and path.samefile(graph):
        raise UsageError(f"{path} is the graph file itself, and would be replaced", hint="write to another file")


def _compute(
    graph: Graph, parameters: PhysicsParameters, seed: int, max_steps: int, device: Device
) -> tuple[PlacedGraph, bool]:
    """The layout, and whether Ctrl-C ended it. During compilation Ctrl-C ends the command: there is nothing to save."""
    with stderr_console().status("looking for a device"):
        name = use_device(device)
    log_line(f"{len(graph):,} nodes, {len(graph.edges):,} edges; physics on {name}")
    from vfctl.physics.offline_layout import lay_out  # not before the device is chosen: it loads JAX

    stopped: list[int] = []

    def on_interrupt(number: int, _: object) -> None:
        stopped.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log_line("stopping; Ctrl-C again stops at once")

    def on_compiled() -> None:
        status.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_interrupt)
        display.__enter__()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    display = LayoutDisplay(stderr_console())
    status = stderr_console().status(f"compiling the physics for {len(graph):,} nodes")
    status.start()
    began_s = time.monotonic()
    try:
        placed = lay_out(
            graph,
            parameters,
            seed=seed,
            max_steps=max_steps,
            on_progress=display.show,
            on_compiled=on_compiled,
            should_stop=lambda: bool(stopped),
        )
    finally:
        status.stop()
        display.__exit__(None, None, None)
        for number, handler in before.items():
            signal.signal(number, handler)
    how = "at rest" if placed.at_rest else "interrupted, not at rest" if stopped else "not at rest"
    log_line(f"{how} after {placed.steps:,} steps, {time.monotonic() - began_s:.1f} s")
    if not placed.at_rest and not stopped:
        log_line("try more --max-steps, or a higher --set cooling")
    return placed, bool(stopped) and not placed.at_rest


def _save(path: Path, write: Callable[[BinaryIO], None]) -> None:
    buffer = io.BytesIO()
    write(buffer)
    if str(path) == "-":
        with until_stdout_closes():
            sys.stdout.buffer.write(buffer.getvalue())
    else:
        replace_file(path, buffer.getvalue())
        log_line(f"wrote {path}")
