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

import typer

from vfctl.capture.recording.rotation import parse_rotation
from vfctl.capture.recording.series import check_series
from vfctl.cli.options import (
    AllowOriginOption,
    DeviceOption,
    Generator,
    GeneratorOption,
    GraphArgument,
    HostOption,
    NodesOption,
    PortOption,
    RotateOption,
    SeedOption,
    SetOption,
    live_graph,
    with_settings,
)
from vfctl.cli.serve_display import ServeDisplay
from vfctl.errors import InputError, UsageError
from vfctl.loadtest.scenario.file import load_scenario
from vfctl.loadtest.scenario.model import EmbeddedServer
from vfctl.physics import DEFAULT_PARAMETERS
from vfctl.quantities import format_count
from vfctl.server.http.origins import check_origin
from vfctl.server.options import DEFAULT_MAX_CLIENTS, Admin, RecordTo, ServerOptions
from vfctl.server.process.descriptors import client_capacity, raise_descriptor_limit
from vfctl.server.process.launch import Server, launch
from vfctl.server.process.workers import MAX_WORKERS, workers_here
from vfctl.stream import Encoding, SlowClientPolicy
from vfctl.terminal.output import log_line, print_error, stderr_console

WATCH_S: Final = 0.25
"""Time between two looks at the server's processes: a gateway that dies is missed for no longer."""

_CONFIG: Final = "vfctl.cli.serve.config"


def _read_config(context: typer.Context, name: str | None) -> str | None:
    """Make what a file says the defaults of the options (click's own way: the command line goes before)."""
    if name is None or context.resilient_parsing:
        return name

    table = context.meta[_CONFIG] = load_scenario(name).server
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
    """A graph of the command line goes before the file's, also where one is read and the other generated."""
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
            help="TOML file whose \\[server] table has options, and \\[server.physics] parameters of the physics; what "
            "the command line says goes before. A scenario's name or file serves what its load test would.",
            metavar="FILE",
        ),
    ] = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    workers: Annotated[
        str,
        typer.Option(help="Gateway processes: a number, or as many as --max-clients ask for.", metavar="N|auto"),
    ] = "auto",
    max_clients: Annotated[
        int | None,
        typer.Option(
            help="Connections that all gateways together accept; more are answered 503.  [default: 50000, or what "
            "fits]",
            min=1,
        ),
    ] = None,
    physics_hz: Annotated[float, typer.Option(help="Ticks of the simulation a second.", min=1, max=1000)] = 60,
    active_interval_ms: Annotated[
        float, typer.Option(help="How often a client is served while the layout moves.", min=1)
    ] = 50,
    stable_interval_ms: Annotated[float, typer.Option(help="And once it is stable.", min=1)] = 1000,
    slow_client: Annotated[
        SlowClientPolicy,
        typer.Option(help="What becomes of a client that has not taken its last frames: it skips, or goes."),
    ] = SlowClientPolicy.SKIP,
    stall_timeout: Annotated[
        float, typer.Option(help="Seconds after which a client that takes nothing at all is disconnected.", min=0.1)
    ] = 20,
    encoding_limit: Annotated[
        Encoding,
        typer.Option(
            help="Refuse clients whose encoding takes more than this one: lz4 forbids raw (what a URL without "
            "?encoding= asks for), compact also lz4."
        ),
    ] = Encoding.RAW,
    admin: Annotated[
        Admin,
        typer.Option(
            help="Who may change the physics while it runs (PATCH /physics): nobody, programs on this machine, or "
            "whoever reaches the port."
        ),
    ] = Admin.LOCAL,
    allow_origin: AllowOriginOption = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Record to this file (.mcap or .bin) what is served and, in an .mcap, what clients send; it never "
            "slows them down.",
            metavar="FILE",
        ),
    ] = None,
    rotate: RotateOption = None,
) -> None:
    """Serve a living graph to WebSocket clients.

    The layout is simulated at --physics-hz; each client sees it move at most every --active-interval-ms, and every
    --stable-interval-ms once it has come to rest. Ctrl-C stops.
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
        _say_if_clients_do_not_fit(options)
    serve(options)


def allowed_origins(origins: list[str] | None) -> tuple[str, ...]:
    """What --allow-origin says.

    Raises:
        UsageError: one of them is no origin.
    """

    return tuple(check_origin(origin) for origin in origins or ())


def serve(
    options: ServerOptions,
    display_kind: type[ServeDisplay] | None = None,
    beside: Callable[[Server, ServeDisplay], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Run a server until Ctrl-C or SIGTERM; `vfctl replay` does the same with a recording.

    Args:
        display_kind: what it shows; None is what every server does.
        beside: run as long as the server does.
    """

    for number in (signal.SIGTERM, signal.SIGHUP):  # also while it starts: clear up, as for Ctrl-C
        signal.signal(number, signal.default_int_handler)

    with ExitStack() as stack:
        status = stack.enter_context(stderr_console().status("starting"))
        server = stack.enter_context(launch(options, on_progress=lambda text: status.update(text)))
        status.stop()
        asyncio.run(_until_stopped(server, display_kind, beside))
        log_line("stopping")
    if options.record is not None:
        _say_what_was_recorded(server, options.record)


def _announce(server: Server) -> None:
    gateways = len(server.scoreboard)
    log_line(f"serving {server.details['source']} on {server.url}")
    log_line(f"{gateways} gateway{'s' if gateways > 1 else ''}, up to {server.max_clients:,} clients")
    if server.options.record is not None:
        log_line(f"recording to {server.options.record.file}")
    if server.device is not None:
        log_line(f"physics on {server.device}")
    url = suggested_url(server.url, server.options.encoding_limit)
    log_line(f"try: vfctl watch {url}, or vfctl loadtest {url} --clients 1000; Ctrl-C stops")


def suggested_url(url: str, limit: Encoding) -> str:
    """What to connect to, as a shell takes it: with the encoding if the one that clients ask for by themselves is not
    served."""

    if limit is Encoding.RAW:
        return url
    return shlex.quote(f"{url}?encoding={limit}")


def _say_if_clients_do_not_fit(options: ServerOptions) -> None:

    capacity = client_capacity(raise_descriptor_limit())
    if capacity * options.workers < options.max_clients:
        needed = workers_here(options.max_clients)
        remedy = f"--workers {needed} hold more" if needed > options.workers else "a higher ulimit -Hn lifts that"
        log_line(f"--max-clients {options.max_clients} do not fit: a gateway holds {capacity} here; {remedy}")


async def _until_stopped(
    server: Server,
    display_kind: type[ServeDisplay] | None,
    beside: Callable[[Server, ServeDisplay], Coroutine[Any, Any, None]] | None,
) -> None:
    """Until the first Ctrl-C or SIGTERM; the second Ctrl-C ends even an orderly stop."""

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    _announce(server)  # not before: whoever reads it may stop us at once
    with (display_kind or ServeDisplay)(stderr_console()) as display:
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
            raise UsageError("--rotate is for a recording, and there is none", hint="add --record FILE")
        return None
    rotation = parse_rotation(rotate) if rotate is not None else None
    try:
        check_series(file, rotation)
    except InputError as error:
        # There is no --overwrite here: a server that is started again must not replace what was recorded before.
        hint = "choose another name or remove it" if file.exists() else error.hint
        raise InputError(error.message, hint=hint) from None
    if rotation is None:
        return RecordTo(str(file))
    return RecordTo(str(file), rotation.max_bytes, rotation.max_s)


def _say_what_was_recorded(server: Server, record: RecordTo) -> None:
    figures = server.scoreboard.recording
    files = f" in {figures.files} files" if figures.files > 1 else ""
    log_line(f"recorded {format_count(figures.messages, 'message')} to {record.file}{files}")
    if figures.dropped:
        why = "" if server.recording_failure else ", which came faster than they could be taken down"
        log_line(f"missing from it: {format_count(figures.dropped, 'message')}{why}")
    if server.recording_failure is not None:
        print_error(server.recording_failure)
        raise typer.Exit(1)


def _workers(text: str, max_clients: int) -> int:

    if text == "auto":
        return workers_here(max_clients)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise UsageError(f"--workers takes a number from 1 to {MAX_WORKERS}, or auto, not {text!r}")
    return int(text)
