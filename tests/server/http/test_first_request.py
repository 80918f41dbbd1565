"""Connections that ask for nothing do not stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import uvloop

from vfctl.server.http.first_request import FirstRequest

HEAD = b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]
Run = Callable[[Coroutine[Any, Any, None]], None]


class Heard(asyncio.Protocol):
    """Answers what it hears with itself."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@asynccontextmanager
async def listening(limit_s: float) -> AsyncIterator[tuple[Connect, list[tuple[FirstRequest, Heard]]]]:
    heard: list[tuple[FirstRequest, Heard]] = []

    def protocol() -> FirstRequest:
        inner = Heard()
        heard.append((FirstRequest(inner, limit_s), inner))
        return heard[-1][0]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", port)
        writers.append(streams[1])
        return streams

    async with server:
        yield connect, heard
        for writer in writers:
            writer.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """In a loop of this kind, within ten seconds."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda talk: runner.run(asyncio.wait_for(talk, 10))


@pytest.mark.parametrize("said", [b"", HEAD[:-1], b"\r\n\r" * 3])
def test_who_asks_for_nothing_whole_is_cut(said: bytes, run: Run) -> None:
    async def talk() -> None:
        async with listening(0.05) as (connect, _):
            reader, writer = await connect()
            writer.write(said)
            with suppress(ConnectionResetError):
                assert await reader.read() == said

    run(talk())


@pytest.mark.parametrize("cut", [1, len(HEAD) - 3, len(HEAD) - 2, len(HEAD) - 1, len(HEAD)])
def test_who_asks_in_pieces_stays_and_it_steps_aside(cut: int, run: Run) -> None:
    async def talk() -> None:
        async with listening(60) as (connect, heard):
            reader, writer = await connect()
            for part in (HEAD[:cut], HEAD[cut:], b"more"):
                writer.write(part)
                assert await reader.readexactly(len(part)) == part
            ((first, inner),) = heard
            assert inner.transport.get_protocol() is inner
            assert first._cut.cancelled()

    run(talk())
