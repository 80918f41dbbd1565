"""The source process behind the bus: ticks the physics or a recording, and publishes the states."""

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
from vfctl.server.options import ServerOptions
from vfctl.server.process.child_main import Parent, Progress, Ready, run_process
from vfctl.server.process.frame_source import AdjustableSource, FrameSource, RecordedSource, build_source
from vfctl.server.process.shared_scene import SharedScene
from vfctl.server.runtime import unix_time_us

log = logging.getLogger(__name__)


def run_source(options: ServerOptions, bus_path: Path, pipe: Connection) -> None:
    """Entry point of the process.

    Args:
        options: of the server.
        bus_path: socket of the bus.
        pipe: to the parent.
    """
    run_process(lambda parent: _main(options, bus_path, parent), pipe, "source")


async def _main(options: ServerOptions, bus_path: Path, parent: Parent) -> None:
    stop = parent.stop_event()
    async with BusServer(bus_path) as bus:  # gateways may connect while the graph is still being loaded
        loop = asyncio.get_running_loop()
        source = await loop.run_in_executor(
            None, build_source, options.source, lambda text: parent.report(Progress(text))
        )
        scene = SharedScene(source, bus.publish_event)
        bus.on_command, bus.on_join = scene.handle_command, scene.selections
        bus.on_request = lambda request: answer_request(source, request)
        graph = await _publish_graph(source, bus, unix_time_us())
        device = source.device if isinstance(source, AdjustableSource) else None
        parent.report(Ready(f"{len(graph.nodes)} nodes, {len(graph.edges)} edges", device))
        ticking = asyncio.create_task(tick_forever(source, bus, scene, 1 / options.physics_hz))
        await asyncio.wait({ticking, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if ticking.done():
            ticking.result()
        ticking.cancel()


async def tick_forever(source: FrameSource, bus: BusServer, scene: SharedScene, period_s: float) -> None:
    """Tick once per period, and publish the states. A tick that takes longer delays the next one; none are made up for.

    Args:
        source: its ticks run in another thread, unless they compute nothing.
        bus: to the gateways.
        scene: selections and drags of all clients.
        period_s: time between ticks.
    """
    loop = asyncio.get_running_loop()
    graph_version = source.graph_version
    recorded = source if isinstance(source, RecordedSource) else None
    physics = source if isinstance(source, AdjustableSource) else None
    next_tick = loop.time()
    while True:
        now_us = unix_time_us()
        # A step may take longer than a tick, and the bus must go on meanwhile. An idle tick costs less than a thread.
        idle = physics is not None and physics.idle
        update = source.tick(now_us) if idle else await loop.run_in_executor(None, source.tick, now_us)
        if source.graph_version != graph_version:
            graph_version = source.graph_version
            graph = await _publish_graph(source, bus, now_us)
            scene.keep(set(graph.nodes["id"].tolist()))
        if update is None:
            bus.confirm(now_us)
        else:
            bus.publish_frame(encode(update))
        for event in source.events(now_us):
            bus.publish_event(Envelope(Kind.EVENT, encode(event)))
        next_tick = max(next_tick + period_s, loop.time())
        if recorded is not None:  # a recorded state is published at its time, not at the next tick
            until_us = recorded.next_change_us(unix_time_us())
            if until_us is not None:
                next_tick = min(next_tick, loop.time() + until_us / 1e6)
        await asyncio.sleep(next_tick - loop.time())


async def _publish_graph(source: FrameSource, bus: BusServer, now_us: int) -> FullGraph:
    """Publish the graph, and its present state as a frame, because only frames say whether the layout has settled.

    The graph is encoded in another thread, because that takes 0.4 s for 100,000 nodes.

    Raises:
        InputError: the graph is too large for one message.
    """

    def encoded_graph() -> tuple[FullGraph, bytes]:
        graph = source.full_graph(now_us)
        try:
            return graph, encode(graph)
        except ValueError as error:
            raise InputError(f"a graph of {len(graph.nodes)} nodes cannot be served: {error}") from None

    graph, message = await asyncio.get_running_loop().run_in_executor(None, encoded_graph)
    bus.publish_graph(message)
    bus.publish_frame(encode(PositionUpdate(graph.nodes, source.settled, graph.trailer)))
    return graph


def answer_request(source: FrameSource, request: bytes) -> bytes:
    """Apply a request of a gateway to the source.

    `vfctl.server.http.physics_api` and `replay_api` send these requests.

    Args:
        source: physics or replay.
        request: a JSON object with the one key `physics` or `replay`: an object of changes by name.

    Returns:
        A JSON object: the settings that hold now, or `error` and `hint`; with `wrong` if the changes are invalid.
    """
    ((target, changes),) = json.loads(request).items()
    try:
        return json.dumps(_apply(source, target, changes)).encode()
    except UsageError as error:
        return json.dumps({"error": error.message, "hint": error.hint, "wrong": True}).encode()
    except Exception as error:  # otherwise the gateway would lose its bus, and all its clients their connections
        log.exception("a request to the source failed")
        return json.dumps({"error": f"the source could not apply this: {error}", "hint": None}).encode()


def _apply(source: FrameSource, target: str, changes: dict[str, Any]) -> dict[str, Any]:
    if target == "replay":
        if not isinstance(source, RecordedSource):
            return {"error": "this server simulates a graph: there is no replay", "hint": None}
        return source.control(changes)
    if not isinstance(source, AdjustableSource):
        return {"error": "this server replays a recording: there is no physics", "hint": None}
    if changes:
        source.set_parameters(**changes)
    return {"device": source.device, "parameters": source.parameters._asdict()}
