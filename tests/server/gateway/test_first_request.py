"""Connections that ask for nothing do not stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import uvloop

from vfctl.server.gateway.protocol_wrappers import FirstRequestTimeout

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
async def listening(limit_s: float) -> AsyncIterator[tuple[Connect, list[tuple[FirstRequestTimeout, Heard]]]]:
    heard: list[tuple[FirstRequestTimeout, Heard]] = []

    def protocol() -> FirstRequestTimeout:
        inner = Heard()
        heard.append((FirstRequestTimeout(inner, limit_s), inner))
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
def test_a_connection_without_a_whole_request_is_aborted(said: bytes, run: Run) -> None:
    async def talk() -> None:
        async with listening(0.05) as (connect, _):
            reader, writer = await connect()
            writer.write(said)
            with suppress(ConnectionResetError):
                assert await reader.read() == said

    run(talk())


def test_a_request_in_pieces_is_answered_and_its_connection_outlives_the_timeout(run: Run) -> None:
    async def talk() -> None:
        async with listening(0.5) as (connect, heard):
            connections = []
            for cut in (1, len(HEAD) - 3, len(HEAD) - 2, len(HEAD) - 1, len(HEAD)):
                reader, writer = await connect()
                connections.append((reader, writer))
                for part in (HEAD[:cut], HEAD[cut:]):
                    writer.write(part)
                    assert await reader.readexactly(len(part)) == part
            idle, _ = await connect()
            assert await idle.read() == b""  # it is aborted: the timeouts of those before it have passed, too
            for reader, writer in connections:
                writer.write(b"more")
                assert await reader.readexactly(4) == b"more"
            assert all(inner.transport.get_protocol() is inner for _, inner in heard[:-1])

    run(talk())
