"""`vfctl bandwidth`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from vfctl.capture import open_capture
from vfctl.capture.encodings import EncodingComparison, SampledState, draw, recorded_states
from vfctl.capture.formats.websocket_frames import may_be_head
from vfctl.capture.reader import PEEK_BYTES, recognise
from vfctl.capture.source import open_source, unpacked
from vfctl.capture.timeline import DecodedMessage, decoded
from vfctl.cli.graph_options import (
    DeviceOption,
    GeneratorOption,
    NodesOption,
    SeedOption,
    SetOption,
    live_graph,
    with_settings,
)
from vfctl.cli.mistakes import check_file
from vfctl.cli.options import JsonOption, MaxStepsOption, PlotOption
from vfctl.errors import EXIT_INTERRUPTED, UsageError, VfctlError
from vfctl.files import check_writable, replace_file
from vfctl.graph.picture import picture_format
from vfctl.physics import DEFAULT_PARAMETERS
from vfctl.physics.device import Device, use_device
from vfctl.protocol import PositionUpdate
from vfctl.quantities import format_byte_rate
from vfctl.server.process.frame_source import build_graph
from vfctl.terminal.output import log_line, stderr_console, stdout_console, until_stdout_closes

_TICKS_PER_FRAME = 3
"""The physics ticks 60 times per second, and a client gets 20 frames."""

_FRAMES_AT_REST = 20

_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HAR = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*"log"\s*:')

_OF_GRAPHS = ("nodes", "generator", "seed", "settings", "device", "max_steps")


def command(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Graph file or recording, detected from the content.",
            metavar="GRAPH|RECORDING",
            callback=check_file,
            show_default="a bundled ontology of 316 nodes",
        ),
    ] = None,
    nodes: NodesOption = None,
    generator: GeneratorOption = None,
    seed: SeedOption = 0,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    max_steps: MaxStepsOption = 20_000,
    json_output: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Compare the encodings raw, lz4 and compact: bytes, time and error for the same layout.

    A graph is laid out until it settles, and sampled 20 times per second as for one client. Of a recording, every frame
    of its first connection with positions is measured. If it is damaged, vfctl measures what is intact and exits with
    code 5. Ctrl-C stops; vfctl prints what was measured and exits with code 130.

    Examples:
        vfctl bandwidth graph.ttl
        vfctl bandwidth run.mcap --plot bytes.png
        vfctl bandwidth --nodes 10k --json
    """
    picture = picture_format(plot) if plot is not None else ""
    if plot is not None:
        check_writable(plot, overwrite=True)
    if _is_recording(source):
        for name in _OF_GRAPHS:
            given = context.get_parameter_source(name)
            if given is not None and given.name == "COMMANDLINE":
                option = "--set" if name == "settings" else f"--{name.replace('_', '-')}"
                raise UsageError(f"{source} is a recording: {option} is for graphs")
        name, states = f"{source}", _recorded(str(source))
    else:
        name, states = _computed(source, nodes, generator, seed, settings, device, max_steps)
    comparison, interrupted = EncodingComparison(), False
    damage: VfctlError | None = None
    with stderr_console().status("encoding") as status:
        try:
            for state in states:
                comparison.add(state)
                status.update(
                    f"encoding: {state.time_s:.1f} s, {comparison.bytes_per_node['compact'][-1]:.2f} bytes a node"
                )
        except KeyboardInterrupt:
            interrupted = True
        except VfctlError as error:
            if not comparison.times_s:
                raise
            damage = error  # what was whole has been measured
    figures = comparison.to_json()
    with until_stdout_closes():
        if json_output:
            typer.echo(json.dumps({"schema": "vfctl.bandwidth/1", "source": name, **figures}, indent=2))
        else:
            for phase, uses in figures["phases"].items():
                stdout_console().print(_table(phase.replace("_", " "), uses))
            stdout_console().print(
                f"{name}: {figures['nodes']:,} nodes; compact: {figures['key_frames']:,} key "
                f"frame{'' if figures['key_frames'] == 1 else 's'}, "
                f"{figures['steps_per_extent']:,.0f} steps to the extent"
            )
    if plot is not None:
        _draw(comparison, name, plot, picture)
    if damage is not None:
        raise damage
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _is_recording(source: Path | None) -> bool:
    """Whether the content is a recording. Graphs are text; of recordings only HAR and HTTP upgrades are text."""
    if source is None:
        return False
    if str(source) == "-":
        return True
    if not source.is_file():
        return False  # who loads the graph says what is wrong
    try:
        file = open_source(source)
    except VfctlError:
        return False
    try:
        start = unpacked(file)[0].peek(PEEK_BYTES)
        if start[:1] in (b"\x89", b"\x04"):
            return True  # however damaged
        if start and not _BINARY.search(start):
            return bool(_HAR.match(start)) or (len(start) > 7 and may_be_head(start[:7]))
        recognise(start, str(source))
    except VfctlError:
        return False
    finally:
        file.close()
    return True


def _recorded(path: str) -> Iterator[SampledState]:
    with open_capture(path) as capture:
        yield from recorded_states(
            _with_warning(decoded(capture)),
            lambda first, other: log_line(
                f"warning: the recording has several connections with positions: {first} is measured, {other} is not"
            ),
        )


def _with_warning(items: Iterator[DecodedMessage]) -> Iterator[DecodedMessage]:
    told = False
    for item in items:
        if not told and isinstance(item.message, PositionUpdate) and item.message.compact:
            told = True
            log_line(
                "warning: the recording is COMPACT: raw and lz4 have no velocities, and "
                "positions are already rounded to a grid"
            )
        yield item


def _computed(
    source: Path | None,
    nodes: int | None,
    generator: Any,
    seed: int,
    settings: list[str] | None,
    device: Device,
    max_steps: int,
) -> tuple[str, Iterator[SampledState]]:
    """The name of the graph, and its states until it settles, with some settled ones."""
    live = live_graph(source, nodes, generator, seed)
    parameters = with_settings(DEFAULT_PARAMETERS, settings)
    graph = build_graph(live, lambda _: None)
    with stderr_console().status("looking for a device"):
        on = use_device(device)
    log_line(f"{len(graph):,} nodes, {len(graph.edges):,} edges; physics on {on}")

    def states() -> Iterator[SampledState]:
        from vfctl.physics import PhysicsOrchestrator  # not before the device is chosen: it loads JAX

        orchestrator = PhysicsOrchestrator(graph, parameters, seed=seed)
        step, rested = 0, 0
        while rested < _FRAMES_AT_REST:
            update = orchestrator.position_update(0)
            yield SampledState(step / 60, update.nodes, update.settled)
            rested += update.settled
            if step >= max_steps and not rested:
                log_line(f"not at rest after {step:,} steps; more --max-steps may bring it there")
                return
            for _ in range(_TICKS_PER_FRAME):
                step += 1
                orchestrator.tick(step * 1_000_000 // 60)

    name = str(source) if source else f"{live.generator} graph" if live.generator else "bundled ontology"
    return name, states()


def _table(phase: str, uses: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=f"{phase}, {uses['raw']['frames']:,} frames")
    table.add_column("", no_wrap=True)
    for title in ("B/node", "of raw", "at 20 Hz", "enc ms", "dec ms", "error ≤", "extent"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, use in uses.items():
        error, share = use["worst_error_units"], use["worst_error_of_extent"]
        table.add_row(
            name,
            f"{use['bytes_per_node']:.3f}",
            f"{use['of_raw']:.4f}",
            format_byte_rate(use["bytes_per_s"]),
            f"{use['encode_ms']:.3f}",
            f"{use['decode_ms']:.3f}",
            f"{error:.3g}" if error else "exact",
            f"1/{1 / share:,.0f}" if share else "",
        )
    return table


def _draw(comparison: EncodingComparison, name: str, path: Path, format: str) -> None:
    buffer = io.BytesIO()
    draw(comparison, f"{name}, {comparison.nodes:,} nodes", buffer, format)
    replace_file(path, buffer.getvalue())
    log_line(f"wrote {path}")
