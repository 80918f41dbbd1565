"""`vfctl layout`."""

from __future__ import annotations

import io
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from vfctl.cli.graph_options import (
    Device,
    DeviceOption,
    GeneratorOption,
    GraphArgument,
    NodesOption,
    SeedOption,
    SetOption,
    live_graph,
    with_settings,
)
from vfctl.files import check_writable, replace_file
from vfctl.terminal.output import people, say, until_reader_leaves

if TYPE_CHECKING:
    from vfctl.graph import Graph
    from vfctl.graph.placed import PlacedGraph
    from vfctl.physics import PhysicsParameters


def command(
    graph: GraphArgument = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write: .npz, .json (node-link) or .graphml; - is JSON on stdout.", metavar="FILE"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw a picture to this file: .png, .svg or .pdf. Needs vfctl\\[plot].", metavar="FILE"),
    ] = None,
    nodes: NodesOption = None,
    generator: GeneratorOption = None,
    seed: SeedOption = 0,
    max_steps: Annotated[int, typer.Option(help="Give up after so many steps.", min=1)] = 20_000,
    settings: SetOption = None,
    device: DeviceOption = Device.AUTO,
) -> None:
    """Lay a graph out: run the physics to rest, without a server, and write the positions.

    Exit code 1 if the layout is not at rest after --max-steps, 130 after Ctrl-C; what there is is written then too,
    and says that it is not at rest. The second Ctrl-C stops at once.
    """
    from vfctl.errors import EXIT_INTERRUPTED, UsageError
    from vfctl.graph.picture import draw, picture_format
    from vfctl.graph.writers import format_of, write
    from vfctl.physics import DEFAULT_PARAMETERS
    from vfctl.server.process.frame_source import build_graph

    if out is None and plot is None:
        raise UsageError("there is nothing to write", hint="give --out positions.npz, or --plot picture.png")
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
    """What cannot be written should be known before the computing, not after it."""
    from vfctl.errors import UsageError

    if path is not None and str(path) != "-":
        check_writable(path, overwrite=True)
    if path is not None and graph is not None and path.exists() and graph.exists() and path.samefile(graph):
        raise UsageError(f"{path} is the graph itself, and would be replaced", hint="write to another file")


def _compute(
    graph: Graph, parameters: PhysicsParameters, seed: int, max_steps: int, device: Device
) -> tuple[PlacedGraph, bool]:
    """The layout, and whether Ctrl-C ended it. While there is nothing to save yet, Ctrl-C just ends the command."""
    from vfctl.cli.layout_display import LayoutDisplay
    from vfctl.physics.device import use_device

    with people().status("looking for a device"):
        name = use_device(device.value)
    say(f"{len(graph):,} nodes, {len(graph.edges):,} edges; physics on {name}")
    from vfctl.physics.layout import lay_out  # not before the device is chosen: it loads JAX

    stopped: list[int] = []

    def on_interrupt(number: int, _: object) -> None:
        stopped.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping; Ctrl-C again stops at once")

    def on_compiled() -> None:
        status.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_interrupt)
        display.__enter__()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    display = LayoutDisplay(people())
    status = people().status(f"compiling the physics for {len(graph):,} nodes")
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
    say(f"{how} after {placed.steps:,} steps, {time.monotonic() - began_s:.1f} s")
    if not placed.at_rest and not stopped:
        say("more --max-steps may bring it to rest; a higher --set cooling certainly does")
    return placed, bool(stopped) and not placed.at_rest


def _save(path: Path, write: Callable[[BinaryIO], None]) -> None:
    buffer = io.BytesIO()
    write(buffer)
    if str(path) == "-":
        with until_reader_leaves():
            sys.stdout.buffer.write(buffer.getvalue())
    else:
        replace_file(path, buffer.getvalue())
        say(f"wrote {path}")
