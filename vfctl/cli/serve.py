"""`vfctl serve`."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urljoin

import typer

from vfctl.capture.recording.series import check_series, parse_rotation
from vfctl.cli.graph_options import (
    DeviceOption,
    Generator,
    GeneratorOption,
    GraphArgument,
    NodesOption,
    SeedOption,
    SetOption,
    live_graph,
    with_settings,
)
from vfctl.cli.options import PHYSICS, AllowOriginOption, HostOption, Panel, PortOption, RotateOption
from vfctl.cli.serve_display import ServeDisplay
from vfctl.errors import InputError, UsageError
from vfctl.loadtest.results.gate_verdicts import check_path
from vfctl.loadtest.scenario.file import load_scenario, scenario_names
from vfctl.loadtest.scenario.model import EmbeddedServer
from vfctl.physics import DEFAULT_PARAMETERS
from vfctl.quantities import format_count
from vfctl.server.capacity import MAX_WORKERS, client_capacity, raise_descriptor_limit, workers_here
from vfctl.server.http.origins import check_origin
from vfctl.server.options import DEFAULT_MAX_CLIENTS, Admin, RecordTo, ServerOptions
from vfctl.server.process.launch import Server, launch
from vfctl.stream import Encoding, SlowClientPolicy
from vfctl.terminal.output import log_line, print_error, stderr_console

CLIENTS, RECORDING = Panel("Clients"), Panel("Recording")

WATCH_S: Final = 0.25
"""Time between two checks of the server's processes, so the longest time that a dead gateway is missed."""

_CONFIG: Final = "vfctl.cli.serve.config"


def _read_config(context: typer.Context, name: str | None) -> str | None:
    """Make the values of a file the defaults of the options, so that the command line overrides them."""
    if name is None or context.resilient_parsing:
        return name

    table = context.meta[_CONFIG] = load_scenario(name, check_path).server
    defaults = {
        "graph": table.graph,
        "nodes": table.nodes,
        "generator": table.generator,
        "seed": table.seed,
        "workers": table.workers and str(table.workers),
        "max_clients": table.max_clients,
        "physics_hz": table.physics_hz,
        "active_interval_ms": table.active_interval_ms,
        "stable_interval_ms": table.stable_interval_ms,
        "stall_timeout": table.stall_timeout_s,
        "device": table.device,
    }
    context.default_map = {option: value for option, value in defaults.items() if value is not None}
    return name


def _one_graph(
    context: typer.Context, graph: Path | None, nodes: int | None, generator: Generator | None
) -> tuple[Path | None, int | None, Generator | None]:
    """A graph of the command line overrides that of the file, also if one is read and the other generated."""
    sources = [context.get_parameter_source(name) for name in ("graph", "nodes", "generator")]
    in_command = [source is not None and source.name == "COMMANDLINE" for source in sources]
    if in_command[0]:
        return graph, nodes if in_command[1] else None, generator if in_command[2] else None
    return None if any(in_command) else graph, nodes, generator


def command(
    context: typer.Context,
    graph: GraphArgument = None,
    nodes: NodesOption = None,
    generator: GeneratorOption = None,
    seed: SeedOption = 0,
    config: Annotated[
        str | None,
        typer.Option(
            callback=_read_config,
            is_eager=True,
            help="TOML file with options in its [server] table and physics parameters in [server.physics], or the name "
            "of a scenario. Options of the command line override the file.",
            metavar="FILE",
            autocompletion=scenario_names,
        ),
    ] = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    physics_hz: Annotated[
        float, PHYSICS.rate(help="Ticks of the simulation per second.", min=1, max=1000, show_default="60")
    ] = 60,
    admin: Annotated[
        Admin,
        PHYSICS.option(
            help="Who may change the physics while it runs (PATCH /physics): nobody, programs on this machine, or "
            "anyone who reaches the port."
        ),
    ] = Admin.LOCAL,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    allow_origin: AllowOriginOption = None,
    workers: Annotated[
        str,
        CLIENTS.option(help="Gateway processes. `auto` starts as many as --max-clients needs.", metavar="COUNT|auto"),
    ] = "auto",
    max_clients: Annotated[
        int | None,
        CLIENTS.count(
            help="Most connections of all gateways together. Further clients get HTTP 503.",
            min=1,
            show_default=f"{DEFAULT_MAX_CLIENTS}, or what fits",
        ),
    ] = None,
    active_interval_ms: Annotated[
        float,
        CLIENTS.option(help="Time between two frames of a client while the layout moves, in ms.", min=1, metavar="MS"),
    ] = 50,
    stable_interval_ms: Annotated[
        float, CLIENTS.option(help="The same after the layout has settled.", min=1, metavar="MS")
    ] = 1000,
    slow_client: Annotated[
        SlowClientPolicy, CLIENTS.option(help="Backpressure policy: skip updates, or disconnect.")
    ] = SlowClientPolicy.SKIP,
    stall_timeout: Annotated[
        float,
        CLIENTS.duration(help="Disconnect a client that has read nothing for this time.", min=0.1, show_default="20s"),
    ] = 20,
    encoding_limit: Annotated[
        Encoding,
        CLIENTS.option(
            help="Refuse clients whose encoding needs more bandwidth: lz4 refuses raw, which is the default of "
            "clients; compact also refuses lz4."
        ),
    ] = Encoding.RAW,
    record: Annotated[
        Path | None,
        RECORDING.option(
            help="Record the served messages to this file (.mcap or .bin), and in an .mcap also those that clients "
            "send. Recording never slows clients down.",
            metavar="FILE",
        ),
    ] = None,
    rotate: RotateOption = None,
) -> None:
    """Serve a graph that moves to WebSocket clients.

    The physics runs at --physics-hz. A client gets a frame every --active-interval-ms while the layout moves, and every
    --stable-interval-ms after it has settled. Ctrl-C stops the server.

    Examples:
        vfctl serve
        vfctl serve graph.ttl --set spring_k=120 --record run.mcap
        vfctl serve --nodes 5k --host 0.0.0.0 --max-clients 20k
    """
    if config is not None:
        graph, nodes, generator = _one_graph(context, graph, nodes, generator)
    table: EmbeddedServer | None = context.meta.get(_CONFIG)
    source = replace(
        live_graph(graph, nodes, generator, seed),
        at_rest=table is not None and table.state == "rest",
        keep_awake=table is not None and table.state == "active",
        parameters=with_settings(table.physics if table else DEFAULT_PARAMETERS, settings),
        device=device,
    )
    options = ServerOptions(
        source=source,
        host=host,
        port=port,
        workers=_workers(workers, max_clients or DEFAULT_MAX_CLIENTS),
        max_clients=max_clients or DEFAULT_MAX_CLIENTS,
        physics_hz=physics_hz,
        active_interval_ms=active_interval_ms,
        stable_interval_ms=stable_interval_ms,
        stall_timeout_s=stall_timeout,
        slow_client=slow_client,
        encoding_limit=encoding_limit,
        admin=admin,
        allow_origins=allowed_origins(allow_origin),
        record=_record_to(record, rotate),
    )
    if max_clients is not None:
        warn_if_clients_do_not_fit(options)
    serve(options)


def allowed_origins(origins: list[str] | None) -> tuple[str, ...]:
    """The origins of --allow-origin.

    Raises:
        UsageError: one of them is no origin.
    """
    return tuple(check_origin(origin) for origin in origins or ())


def serve(
    options: ServerOptions,
    display_kind: type[ServeDisplay] = ServeDisplay,
    beside: Callable[[Server, ServeDisplay], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Run a server until Ctrl-C or SIGTERM. `vfctl replay` does the same with a recording.

    Args:
        display_kind: shows the state of the server.
        beside: runs as long as the server does.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # clean up during the start, too, as after Ctrl-C
        signal.signal(number, signal.default_int_handler)

    with ExitStack() as stack:
        status = stack.enter_context(stderr_console().status("starting"))
        server = stack.enter_context(launch(options, on_progress=lambda text: status.update(text)))
        status.stop()
        asyncio.run(_until_stopped(server, display_kind, beside))
        log_line("stopping")
    if options.record is not None:
        print_recorded(server, options.record)


def _announce(server: Server) -> None:
    gateways = len(server.scoreboard)
    log_line(f"serving {server.details['source']} on {server.url}")
    log_line(f"viewer: {page_address(server.url)}")
    log_line(f"{format_count(gateways, 'gateway')}, up to {server.max_clients:,} clients")
    if server.options.record is not None:
        log_line(f"recording to {server.options.record.file}")
    if server.device is not None:
        log_line(f"physics on {server.device}")
    url = suggested_url(server.url, server.options.encoding_limit)
    log_line(f"try: vfctl watch {url}, or vfctl loadtest {url} --clients 1000; Ctrl-C stops")


def page_address(url: str) -> str:
    """The address of the viewer page of the server with this WebSocket URL."""
    return urljoin(url.replace("ws", "http", 1), "/")


def suggested_url(url: str, limit: Encoding) -> str:
    """A URL to connect to, quoted for a shell. It names an encoding if the server refuses raw."""
    if limit is Encoding.RAW:
        return url
    return shlex.quote(f"{url}?encoding={limit}")


def warn_if_clients_do_not_fit(options: ServerOptions) -> None:
    """Print what to change if the gateways cannot hold --max-clients, because of the open-file limit."""
    capacity = client_capacity(raise_descriptor_limit())
    if capacity * options.workers < options.max_clients:
        needed = workers_here(options.max_clients)
        remedy = f"use --workers {needed}" if needed > options.workers else "raise the limit with ulimit -Hn"
        log_line(f"--max-clients {options.max_clients} does not fit: a gateway holds {capacity} connections; {remedy}")


async def _until_stopped(
    server: Server,
    display_kind: type[ServeDisplay],
    beside: Callable[[Server, ServeDisplay], Coroutine[Any, Any, None]] | None,
) -> None:
    """Return after the first Ctrl-C or SIGTERM. The second Ctrl-C interrupts an orderly stop, too."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    _announce(server)  # after the handlers are set, because a reader may stop the server at once
    with display_kind(stderr_console()) as display:
        steering = asyncio.create_task(beside(server, display)) if beside is not None else None
        while not stop.is_set():
            server.watch(0, log_line)
            display.show(server.scoreboard)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_S)
        if steering is not None:
            steering.cancel()
            await asyncio.wait({steering})


def _record_to(file: Path | None, rotate: str | None) -> RecordTo | None:
    if file is None:
        if rotate is not None:
            raise UsageError("--rotate is for a recording, but there is none", hint="add --record FILE")
        return None
    rotation = parse_rotation(rotate) if rotate is not None else None
    try:
        check_series(file, rotation)
    except InputError as error:
        # There is no --overwrite here, because a restarted server must not replace an earlier recording.
        hint = "choose another name, or remove the file" if file.exists() else error.hint
        raise InputError(error.message, hint=hint) from None
    if rotation is None:
        return RecordTo(str(file))
    return RecordTo(str(file), rotation.max_bytes, rotation.max_s)


def print_recorded(server: Server, record: RecordTo) -> None:
    """Print what was recorded, and what is missing. A failed recording ends the command with exit code 1."""
    figures = server.scoreboard.recording
    files = f" in {figures.files} files" if figures.files > 1 else ""
    log_line(f"recorded {format_count(figures.messages, 'message')} to {record.file}{files}")
    if figures.dropped:
        why = "" if server.recording_failure else ", because they arrived faster than they could be written"
        log_line(f"missing from the recording: {format_count(figures.dropped, 'message')}{why}")
    if server.recording_failure is not None:
        print_error(server.recording_failure)
        raise typer.Exit(1)


def _workers(text: str, max_clients: int) -> int:
    if text == "auto":
        return workers_here(max_clients)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise UsageError(f"--workers is {text!r}, expected a number from 1 to {MAX_WORKERS}, or auto")
    return int(text)
