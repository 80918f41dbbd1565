"""`vfctl serve`."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vfctl.cli.output import complain, people, say

if TYPE_CHECKING:
    import asyncio

    from vfctl.server.launch import Server
    from vfctl.server.options import ServerOptions


class Generator(StrEnum):
    """The names of the generators; a test holds them against those that `vfctl.graph.generators` has."""

    SCALE_FREE = "scale-free"
    TREE = "tree"
    GRID = "grid"
    RANDOM = "random"


class SlowClient(StrEnum):
    """The names of the policies of `vfctl.stream.SlowClientPolicy`, held against them by the same test."""

    SKIP = "skip"
    DISCONNECT = "disconnect"


WATCH_S: Final = 0.25
"""Time between two looks at the server's processes: a gateway that dies is missed for no longer."""

HostOption = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")]
PortOption = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]


def command(
    graph: Annotated[
        Path | None,
        typer.Argument(
            help="Graph file: node-link JSON, GraphML, CSV edge list, Turtle or RDF/XML. Without it, a bundled "
            "ontology of 316 nodes."
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(help="Generate a graph of so many nodes instead.  [default: 1000, with --generator]", min=1),
    ] = None,
    generator: Annotated[
        Generator | None, typer.Option(help="Kind of graph to generate.  [default: scale-free, with --nodes]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generator and of the first positions.", min=0)] = 0,
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
        SlowClient, typer.Option(help="What becomes of a client that has not taken its last frames: it skips, or goes.")
    ] = SlowClient.SKIP,
    stall_timeout: Annotated[
        float, typer.Option(help="Seconds after which a client that takes nothing at all is disconnected.", min=0.1)
    ] = 20,
    record: Annotated[
        Path | None, typer.Option(help="Record what is served to this file (.mcap or .bin) as well.")
    ] = None,
) -> None:
    """Serve a living graph to WebSocket clients.

    The layout is simulated at --physics-hz; each client sees it move at most every --active-interval-ms, and every
    --stable-interval-ms once it has come to rest. Ctrl-C stops.
    """
    from vfctl.errors import UsageError
    from vfctl.server.options import DEFAULT_MAX_CLIENTS, LiveGraph, ServerOptions
    from vfctl.stream import SlowClientPolicy

    generated = nodes is not None or generator is not None
    if graph is not None and generated:
        raise UsageError("a graph is either read from a file or generated: give GRAPH or --nodes, not both")
    options = ServerOptions(
        source=LiveGraph(
            file=None if graph is None else str(graph),
            generator=(generator or Generator.SCALE_FREE).value if generated else None,
            nodes=nodes or 1000,
            seed=seed,
        ),
        host=host,
        port=port,
        workers=_workers(workers, max_clients or DEFAULT_MAX_CLIENTS),
        max_clients=max_clients or DEFAULT_MAX_CLIENTS,
        physics_hz=physics_hz,
        active_interval_ms=active_interval_ms,
        stable_interval_ms=stable_interval_ms,
        stall_timeout_s=stall_timeout,
        slow_client=SlowClientPolicy(slow_client.value),
    )
    if max_clients is not None:
        _say_if_clients_do_not_fit(options)
    serve(options, record)


def serve(options: ServerOptions, record: Path | None = None) -> None:
    """Run a server until Ctrl-C or SIGTERM; `vfctl replay` does the same with a recording."""
    import asyncio
    import signal

    from vfctl.server.launch import launch

    for number in (signal.SIGTERM, signal.SIGHUP):  # also while it starts: clear up, as for Ctrl-C
        signal.signal(number, signal.default_int_handler)

    if record is not None:
        from vfctl.capture.writer import check_target

        check_target(record)
    with ExitStack() as stack:
        status = stack.enter_context(people().status("starting"))
        server = stack.enter_context(launch(options, on_progress=lambda text: status.update(text)))
        status.stop()
        recorded = asyncio.run(_until_stopped(server, record))
        say("stopping")
    if not recorded:
        raise typer.Exit(1)


def _announce(server: Server) -> None:
    gateways = len(server.scoreboard)
    say(f"serving {server.details['source']} on {server.url}")
    say(f"{gateways} gateway{'s' if gateways > 1 else ''}, up to {server.max_clients:,} clients")
    say(f"try: vfctl watch {server.url}, or vfctl loadtest {server.url} --clients 1000; Ctrl-C stops")


def _say_if_clients_do_not_fit(options: ServerOptions) -> None:
    from vfctl.server.descriptors import client_capacity, raise_descriptor_limit
    from vfctl.server.workers import workers_here

    capacity = client_capacity(raise_descriptor_limit())
    if capacity * options.workers < options.max_clients:
        needed = workers_here(options.max_clients)
        remedy = f"--workers {needed} hold more" if needed > options.workers else "a higher ulimit -Hn lifts that"
        say(f"--max-clients {options.max_clients} do not fit: a gateway holds {capacity} here; {remedy}")


async def _until_stopped(server: Server, record: Path | None) -> bool:
    """Until the first Ctrl-C or SIGTERM; the second Ctrl-C ends even an orderly stop.

    Returns:
        False if there was to be a recording, and it failed.
    """
    import asyncio
    import signal

    from vfctl.cli.serve_display import ServeDisplay

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    _announce(server)  # not before: whoever reads it may stop us at once
    recording = asyncio.create_task(_record(server.url, record, stop)) if record is not None else None
    with ServeDisplay(people()) as display:
        while not stop.is_set():
            server.watch(0, say)
            display.show(server.scoreboard)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_S)
    return True if recording is None else await recording


async def _record(url: str, path: Path, stop: asyncio.Event) -> bool:
    """Record like any client would. A recording that fails does not take the server with it."""
    from vfctl.client.record import record
    from vfctl.errors import VfctlError

    try:
        summary = await record(url, path, stop=stop)
        say(f"recorded {summary.messages:,} messages to {path}")
    except VfctlError as error:
        complain(error)
        return False
    return True


def _workers(text: str, max_clients: int) -> int:
    from vfctl.errors import UsageError
    from vfctl.server.workers import MAX_WORKERS, workers_here

    if text == "auto":
        return workers_here(max_clients)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise UsageError(f"--workers takes a number from 1 to {MAX_WORKERS}, or auto, not {text!r}")
    return int(text)
