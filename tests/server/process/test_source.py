"""The loop of the source process: in which thread its ticks run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vfctl.bus import BusServer, Envelope, Kind, subscribe
from vfctl.graph import Graph, to_full_graph
from vfctl.physics import PhysicsParameters
from vfctl.protocol import NODE_DTYPE, FullGraph, Message, NodeDrag, PositionUpdate, Trailer, encode
from vfctl.server.process.frame_source import AdjustableSource
from vfctl.server.process.shared_scene import SharedScene
from vfctl.server.process.source import tick_forever

LIMIT_S = 10.0


class SettledPhysics:
    """A settled layout, in which only drags cost a step."""

    settled = True
    graph_version = 0
    device = "cpu"
    parameters = PhysicsParameters()

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._drags: list[Message] = []
        self.threads_of_steps: set[int] = set()
        self.threads_of_idle_ticks: set[int] = set()

    @property
    def idle(self) -> bool:
        return not self._drags

    def tick(self, now_us: int) -> PositionUpdate | None:
        threads = self.threads_of_steps if self._drags else self.threads_of_idle_ticks
        threads.add(threading.get_ident())
        if not self._drags:
            return None
        self._drags.clear()
        return PositionUpdate(self.full_graph(now_us).nodes, True, Trailer(1, now_us, 0))

    def full_graph(self, now_us: int) -> FullGraph:
        nodes = np.zeros(len(self._graph), NODE_DTYPE)
        nodes["id"] = self._graph.ids
        return to_full_graph(self._graph, nodes, trailer=Trailer(0, now_us, 0))

    def events(self, now_us: int) -> Sequence[Message]:
        return ()

    def apply(self, message: Message, sender: int = 0) -> None:
        self._drags.append(message)

    def leave(self, sender: int) -> None:
        pass

    def set_parameters(self, **changes: float) -> None:
        pass


async def test_a_settled_tick_with_a_drag_is_computed_in_another_thread(tmp_path: Path, small_graph: Graph) -> None:
    """The bus would stand still meanwhile, for as long as a step takes."""
    source: AdjustableSource = SettledPhysics(small_graph)
    bus = BusServer(tmp_path / "bus")
    await bus.start()
    gateway = await subscribe(tmp_path / "bus", timeout_s=5)
    scene = SharedScene(source, bus.publish_event)
    bus.on_command = scene.handle_command
    ticking = asyncio.create_task(tick_forever(source, bus, scene, 0.001))
    async with asyncio.timeout(LIMIT_S):
        envelopes = aiter(gateway)
        assert (await anext(envelopes)).kind is Kind.CONFIRM
        gateway.send(Envelope(Kind.COMMAND, encode(NodeDrag(1, 2.0, 3.0, 4.0)), 0, 1))
        while (await anext(envelopes)).kind is not Kind.FRAME:
            pass
    ticking.cancel()
    assert isinstance(source, SettledPhysics)
    assert threading.get_ident() not in source.threads_of_steps
    assert source.threads_of_idle_ticks == {threading.get_ident()}
    await gateway.close()
    await bus.close()
