"""A small server that speaks V4 frames by a script, and a clock that does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from aiohttp import web

from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, Message, PositionUpdate, decode, encode

GRAPH = FullGraph(np.zeros(2, NODE_DTYPE), np.zeros(1, EDGE_DTYPE))
UPDATE = PositionUpdate(np.ones(2, NODE_DTYPE))

Act = Callable[["Visit"], Awaitable[web.StreamResponse]]


@dataclass
class Visit:
    """One connection, as the server sees it."""

    request: web.Request
    socket: web.WebSocketResponse = field(default_factory=lambda: web.WebSocketResponse(autoping=True))

    async def accept(self, *messages: Message) -> web.WebSocketResponse:
        await self.socket.prepare(self.request)
        for message in messages:
            await self.socket.send_bytes(encode(message))
        return self.socket

    async def receive(self) -> Message:
        return decode(await self.socket.receive_bytes())

    async def gone(self) -> int | None:
        """Wait for the client to close; its code."""
        while not (await self.socket.receive()).type.name.startswith("CLOS"):
            pass
        return self.socket.close_code

    async def drop(self) -> web.WebSocketResponse:
        """Cut the connection without a close frame."""
        self.request.transport.abort()
        return self.socket


@dataclass
class FrameServer:
    """Plays one act per connection; the last act plays for all that follow."""

    url: str = ""
    acts: list[Act] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len(self.queries)

    def play(self, *acts: Act) -> FrameServer:
        self.acts = list(acts)
        return self

    async def handle(self, request: web.Request) -> web.StreamResponse:
        act = self.acts[min(len(self.queries), len(self.acts) - 1)]
        self.queries.append(request.query_string)
        return await act(Visit(request))


@pytest.fixture
async def server() -> AsyncIterator[FrameServer]:
    frames = FrameServer()
    application = web.Application()
    application.router.add_get("/ws", frames.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    frames.url = f"ws://127.0.0.1:{port}/ws"
    yield frames
    await runner.cleanup()


class TestClock:
    """Backoffs pass at once and are noted; heartbeats come when the test says so."""

    __test__ = False

    def __init__(self) -> None:
        self.now_s = 100.0
        self.now_us = 1_750_000_000_000_000
        self.slept: list[float] = []
        self._beats = asyncio.Queue[None]()

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_ns(self) -> int:
        return self.now_us * 1000

    def beat(self) -> None:
        """A heartbeat interval is over."""
        self._beats.put_nowait(None)

    async def sleep(self, delay_s: float) -> None:
        if delay_s == 30.0:
            await self._beats.get()
            return
        self.slept.append(delay_s)
        self.now_s += delay_s
        await asyncio.sleep(0)


@pytest.fixture
async def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def acts() -> type[Acts]:
    return Acts


class Acts:
    """What a server may do with a connection."""

    graph, update = GRAPH, UPDATE

    @staticmethod
    def say(*messages: Message, close: int | None = 1000, reason: bytes = b"") -> Act:
        """Send these, then close with a code; None cuts the line."""

        async def act(visit: Visit) -> web.StreamResponse:
            socket = await visit.accept(*messages)
            if close is None:
                await asyncio.sleep(0)
                return await visit.drop()
            await socket.close(code=close, message=reason)
            return socket

        return act

    @staticmethod
    def stay(*messages: Message) -> Act:
        """Send these, then read until the client closes."""

        async def act(visit: Visit) -> web.StreamResponse:
            await visit.accept(*messages)
            await visit.gone()
            return visit.socket

        return act

    @staticmethod
    def answer(status: int, text: str, content_type: str = "text/plain") -> Act:
        """No WebSocket, but this."""

        async def act(visit: Visit) -> web.StreamResponse:
            return web.Response(status=status, text=text, content_type=content_type)

        return act
