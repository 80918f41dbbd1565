"""A gateway on a real port behind a real bus, whose source is the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from vfctl.bus import BusServer, Envelope, subscribe
from vfctl.graph import Graph, build_graph, to_full_graph
from vfctl.protocol import NODE_DTYPE, Message, Nodes, PositionUpdate, Trailer, decode, encode
from vfctl.server.capacity import ClientLimit
from vfctl.server.gateway.gateway import Gateway
from vfctl.server.http.endpoints import build_app
from vfctl.server.options import ServerOptions
from vfctl.server.runtime import monotonic_us
from vfctl.server.scoreboard import Scoreboard

MessageT = TypeVar("MessageT")


class Stage:
    """Source, bus, gateway and port of one test."""

    def __init__(
        self,
        folder: Path,
        options: ServerOptions,
        graph: Graph,
        *,
        capacity: int = 100,
        clock: Callable[[], int] = monotonic_us,
    ) -> None:
        self.graph = graph
        self.commands: asyncio.Queue[Envelope] = asyncio.Queue()
        self.bus = BusServer(folder / "bus")
        self.bus.on_command = self.commands.put_nowait
        self._viewers: list[Viewer] = []
        self._folder = folder
        self._options = options
        self._clock = clock
        self.scoreboard = Scoreboard(2)  # as if there were another gateway
        self._limit = ClientLimit(self.scoreboard, 0, capacity=capacity, max_clients=options.max_clients)

    def nodes(self, x: float = 0.0) -> Nodes:
        nodes = np.zeros(len(self.graph), NODE_DTYPE)
        nodes["id"] = self.graph.ids
        nodes["x"] = x
        return nodes

    def publish_graph(self) -> None:
        self.bus.publish_graph(encode(to_full_graph(self.graph, self.nodes(), trailer=Trailer(0, _now_us(), 0))))

    def tick(self, x: float, *, settled: bool = False) -> None:
        self.bus.publish_frame(encode(PositionUpdate(self.nodes(x), settled, Trailer(0, _now_us(), 0))))

    async def tick_until(self, x: float, *seen: Coroutine[Any, Any, object]) -> None:
        """Tick until all that is seen. Once may not do: a gateway without time makes its rounds longer than a tick."""
        waiting = asyncio.gather(*seen)
        while not waiting.done():
            self.tick(x)
            await asyncio.wait({waiting}, timeout=0.05)
        await waiting

    async def start(self) -> None:
        await self.bus.start()
        self.publish_graph()
        self.subscription = await subscribe(self._folder / "bus", timeout_s=5)
        self.gateway = Gateway(self._options, 0, self.subscription, self._limit, self._clock)
        self.following = asyncio.create_task(self.gateway.follow_bus())
        await self.gateway.updates.wait_ready()
        self._runner = web.AppRunner(build_app(self.gateway, self._options), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        self.session = aiohttp.ClientSession()

    async def stop(self) -> None:
        for viewer in self._viewers:
            await viewer.socket.close()
        await self.session.close()
        await self._runner.cleanup()
        await self.bus.close()
        await self.following
        await self.subscription.close()

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, query: str = "") -> Viewer:
        viewer = Viewer(await self.session.ws_connect(f"{self.http}/ws{query}", max_msg_size=0))
        self._viewers.append(viewer)  # a connection that nobody holds is closed by aiohttp
        return viewer


class Viewer:
    """A WebSocket client that reads V4."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def receive(self) -> Message:
        return decode(await self.socket.receive_bytes(timeout=5))

    async def send(self, message: Message) -> None:
        await self.socket.send_bytes(encode(message))

    async def receive_kind(self, kind: type[MessageT]) -> MessageT:
        """The next message of that kind; others are passed over."""
        while True:
            message = await self.receive()
            if isinstance(message, kind):
                return message

    async def closed_with(self) -> int:
        """The code that the server closes with."""
        while True:
            incoming = await self.socket.receive(timeout=5)
            if incoming.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                return self.socket.close_code or 0


def _now_us() -> int:
    return time.time_ns() // 1000


@pytest.fixture
def small_graph() -> Graph:
    labels = ["Root", "Alpha", "Beta", "Gamma"]
    kinds = ["class", "class", "individual", "individual"]
    return build_graph("small", labels, [(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0)], kinds=kinds, depths=[0, 1, 2, 2])


@pytest.fixture
def clock() -> Callable[[], int]:
    """The gateway's monotonic clock in µs; tests may replace it."""
    return monotonic_us


@pytest.fixture
async def stage(tmp_path: Path, small_graph: Graph, clock: Callable[[], int]) -> AsyncIterator[Stage]:
    """Every connection is due at every tick, because the active interval is shorter than any tick."""
    options = ServerOptions(active_interval_ms=0.001, stable_interval_ms=1000)
    staged = Stage(tmp_path, options, small_graph, clock=clock)
    await staged.start()
    yield staged
    await staged.stop()
