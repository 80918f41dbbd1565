"""The process behind the bus: ticks the physics (or a recording) and publishes what comes of it."""

from __future__ import annotations

import asyncio
import json
import logging
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vfctl.bus import BusServer, Envelope, Kind
from vfctl.errors import InputError, UsageError
from vfctl.protocol import FullGraph, PositionUpdate, encode
from vfctl.server.clocks import unix_time_us
from vfctl.server.options import ServerOptions
from vfctl.server.process.child_main import Parent, Progress, Ready, run_process
from vfctl.server.process.frame_source import AdjustableSource, FrameSource, RecordedSource, build_source
from vfctl.server.process.shared_scene import SharedScene

log = logging.getLogger(__name__)


def run_source(options: ServerOptions, bus_path: Path, pipe: Connection) -> None:
    """Entry point of the process."""
    run_process(lambda parent: _main(options, bus_path, parent), pipe, "source")


async def _main(options: ServerOptions, bus_path: Path, parent: Parent) -> None:
    ending = parent.gone()
    bus = BusServer(bus_path)
    await bus.start()  # gateways may join while the graph is still being loaded
    loop = asyncio.get_running_loop()
    source = await loop.run_in_executor(None, build_source, options.source, lambda text: parent.report(Progress(text)))
    scene = SharedScene(source, bus.publish_event)
    bus.on_command, bus.on_join = scene.obey, scene.selections
    bus.on_request = lambda request: _answer(source, request)
    graph = _publish_graph(source, bus, unix_time_us())
    device = source.device if isinstance(source, AdjustableSource) else None
    parent.report(Ready(f"{len(graph.nodes)} nodes, {len(graph.edges)} edges", device))
    ticking = asyncio.create_task(_tick_forever(source, bus, scene, 1 / options.physics_hz))
    await asyncio.wait({ticking, asyncio.create_task(ending.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if ticking.done():
        ticking.result()
    ticking.cancel()
    await bus.close()


async def _tick_forever(source: FrameSource, bus: BusServer, scene: SharedScene, period_s: float) -> None:
    """One tick a period. A tick that takes longer is followed by the next at once; what was missed is lost."""
    loop = asyncio.get_running_loop()
    graph_version = source.graph_version
    recorded = source if isinstance(source, RecordedSource) else None
    next_tick = loop.time()
    while True:
        now_us = unix_time_us()
        # A step may take longer than a tick, and the bus must go on; one that is settled costs nothing, unless somebody
        # has asked for another place of a recording.
        quick = source.settled and recorded is None
        update = source.tick(now_us) if quick else await loop.run_in_executor(None, source.tick, now_us)
        if source.graph_version != graph_version:
            graph_version = source.graph_version
            graph = _publish_graph(source, bus, now_us)
            scene.keep(set(graph.nodes["id"].tolist()))
        if update is None:
            bus.confirm(now_us)
        else:
            bus.publish_frame(encode(update))
        for event in source.events(now_us):
            bus.publish_event(Envelope(Kind.EVENT, encode(event)))
        next_tick = max(next_tick + period_s, loop.time())
        if recorded is not None:  # what was recorded comes when it did, not at the next tick
            until_us = recorded.next_change_us(unix_time_us())
            if until_us is not None:
                next_tick = min(next_tick, loop.time() + until_us / 1e6)
        await asyncio.sleep(next_tick - loop.time())


def _publish_graph(source: FrameSource, bus: BusServer, now_us: int) -> FullGraph:
    """The graph, and its present state as a frame, since only frames tell whether the layout is settled.

    Raises:
        InputError: the graph is too large for one message.
    """
    graph = source.full_graph(now_us)
    try:
        bus.publish_graph(encode(graph))
    except ValueError as error:
        raise InputError(f"a graph of {len(graph.nodes)} nodes cannot be served: {error}") from None
    bus.publish_frame(encode(PositionUpdate(graph.nodes, source.settled, graph.trailer)))
    return graph


def _answer(source: FrameSource, request: bytes) -> bytes:
    """Apply a request of a gateway, and return the settings of the physics or the replay.

    `vfctl.server.http.physics_api` and `replay_api` send these requests.

    Args:
        request: a JSON object with the one key `physics` or `replay`: an object of what is to be changed, by name.

    Returns:
        a JSON object, what there is now, or why not as `error` and `hint`; with `wrong` if the changes cannot be.
    """
    ((what, changes),) = json.loads(request).items()
    try:
        return json.dumps(_set(source, what, changes)).encode()
    except UsageError as error:
        return json.dumps({"error": error.message, "hint": error.hint, "wrong": True}).encode()
    except Exception as error:  # the bus would end with it, and so the gateway that asks, with all its clients
        log.exception("a question could not be answered")
        return json.dumps({"error": f"this cannot be done: {error}", "hint": None}).encode()


def _set(source: FrameSource, what: str, changes: dict[str, Any]) -> dict[str, Any]:
    if what == "replay":
        if not isinstance(source, RecordedSource):
            return {"error": "this server simulates a graph: there is no recording behind it", "hint": None}
        return source.control(changes)
    if not isinstance(source, AdjustableSource):
        return {"error": "this server replays a recording: there is no physics behind it", "hint": None}
    if changes:
        source.set_parameters(**changes)
    return {"device": source.device, "parameters": source.parameters._asdict()}
