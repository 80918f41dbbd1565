"""Clients that do not read: they skip, they get the newest when they wake, and they are not left open and silent."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import select
import socket
from pathlib import Path

import pytest

from tests.server.conftest import Stage, Viewer
from vfctl.graph import Graph, build_graph
from vfctl.protocol import Filter, FilterUpdate, FullGraph, Heartbeat, PositionUpdate, encode
from vfctl.protocol.websocket import Opcode, close_payload, frame, frame_masked
from vfctl.server.gateway import disconnects
from vfctl.server.options import ServerOptions
from vfctl.stream import SlowClientPolicy


@pytest.fixture
def small_graph() -> Graph:
    """Frames of 280 KB: they do not fit into the socket buffers of a client that sleeps."""
    return build_graph("large", [f"node {number}" for number in range(10_000)], [(0, 1, 1.0)])


class FakeClock:
    """The gateway's schedule, in µs."""

    now_us = 1_000_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def sleeper(stage: Stage, others: int = 0) -> socket.socket:
    """A client that shakes hands and then reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", stage.port))
    key = base64.b64encode(bytes(16)).decode()
    await loop.sock_sendall(
        sock,
        f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode(),
    )
    async with asyncio.timeout(5):
        while len(stage.gateway.clients) == others:
            await asyncio.sleep(0)
    return sock


async def tick(stage: Stage, clock: FakeClock, count: int, step_us: int = 50_000) -> None:
    """Publish states one by one, each served before the next."""
    for number in range(count):
        clock.now_us += step_us
        before = stage.gateway.updates.scene.version
        stage.tick(float(number))
        async with asyncio.timeout(5):
            while stage.gateway.updates.scene.version == before:
                await asyncio.sleep(0)
        for _ in range(3):  # the gateway times its work to the end of the loop iteration, before the clock moves on
            await asyncio.sleep(0)


async def test_a_sleeping_client_skips_and_is_not_queued_for(clock: FakeClock, stage: Stage) -> None:
    sock = await sleeper(stage)
    await tick(stage, clock, 30)
    (connection,) = stage.gateway.clients
    assert stage.gateway.clients.traffic.skipped > 20
    assert connection.transport.get_write_buffer_size() < 3 * 280_008
    sock.close()


async def test_a_client_that_takes_nothing_is_disconnected_and_counted(clock: FakeClock, stage: Stage) -> None:
    sock = await sleeper(stage)
    await tick(stage, clock, 10)
    assert stage.gateway.clients.traffic.stalled == 0
    await tick(stage, clock, 10, step_us=3_000_000)
    assert stage.gateway.clients.traffic.stalled == 1
    async with asyncio.timeout(5):
        while len(stage.gateway.clients):
            await asyncio.sleep(0)
    # The socket is really closed, not only forgotten: reading it comes to an end.
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            await _read_forever(loop, sock)
    sock.close()


async def _read_all(sock: socket.socket) -> bytes:
    loop, received = asyncio.get_running_loop(), b""
    async with asyncio.timeout(5):
        while data := await loop.sock_recv(sock, 1 << 20):
            received += data
    return received


async def test_a_client_that_wakes_in_the_last_second_is_told_why(clock: FakeClock, stage: Stage) -> None:
    sock = await sleeper(stage)
    await tick(stage, clock, 10)
    await tick(stage, clock, 10, step_us=3_000_000)
    assert stage.gateway.clients.traffic.stalled == 1
    assert (await _read_all(sock)).endswith(frame(close_payload(1008, "too slow"), Opcode.CLOSE))
    sock.close()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(frame_masked(b"no V4", b"mask", Opcode.TEXT), id="a mistake"),
        pytest.param(frame_masked(bytes([3, 232]), b"mask", Opcode.CLOSE), id="a Close"),
    ],
)
async def test_a_client_that_ends_the_connection_and_reads_nothing_is_cut(
    said: bytes, clock: FakeClock, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it is never taken, so that an orderly end never comes."""
    monkeypatch.setattr(disconnects, "DRAIN_TIMEOUT_S", 0.01)
    monkeypatch.setattr(disconnects, "CLOSE_TIMEOUT_S", 0.01)
    sock = await sleeper(stage)
    await tick(stage, clock, 10)
    (connection,) = stage.gateway.clients
    await asyncio.get_running_loop().sock_sendall(sock, said)
    async with asyncio.timeout(5):
        while not connection.ended:
            await asyncio.sleep(0.001)
        while len(stage.gateway.clients):
            await asyncio.sleep(0)
    sock.close()


async def test_who_takes_the_goodbye_is_not_cut(
    clock: FakeClock, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of its descriptor is nobody's by then, or another's."""
    monkeypatch.setattr(disconnects, "DRAIN_TIMEOUT_S", 60.0)
    sock = await sleeper(stage)
    await tick(stage, clock, 10)
    await tick(stage, clock, 10, step_us=3_000_000)
    (connection,) = stage.gateway.clients
    await _read_all(sock)
    sock.close()
    async with asyncio.timeout(10):
        while not connection.ended:
            await asyncio.sleep(0.001)
    assert connection.abort_timer is not None
    assert connection.abort_timer.cancelled()


async def test_a_client_that_says_much_leaves_time_for_others(tmp_path: Path, small_graph: Graph) -> None:
    stage = Stage(tmp_path, ServerOptions(active_interval_ms=0.001), small_graph)  # with the real clock
    await stage.start()
    talker, other = await stage.connect(), await stage.connect()
    (connection, _) = stage.gateway.clients
    last = Filter(depth=(0, 300))
    filters = [*(Filter(depth=(-number, 1)) for number in range(300)), last]
    talking = asyncio.create_task(_talk(talker, filters))
    async with asyncio.timeout(5):
        while not connection.audience.variant.filter.depth:
            await asyncio.sleep(0)
    await other.send(Heartbeat(1))
    await other.receive_kind(Heartbeat)
    assert connection.audience.variant.filter != last
    talking.cancel()
    connection.transport.abort()  # otherwise its close would wait behind all filters
    await stage.stop()


async def _talk(viewer: Viewer, filters: list[Filter]) -> None:
    for each in filters:
        await viewer.send(FilterUpdate(each))


async def test_a_client_that_sleeps_on_finds_its_connection_broken(
    clock: FakeClock, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orderly end would wait in the server's kernel, behind data that the closed window never lets through."""
    monkeypatch.setattr(disconnects, "DRAIN_TIMEOUT_S", 0.01)
    sock = await sleeper(stage)
    await tick(stage, clock, 10)
    await tick(stage, clock, 10, step_us=3_000_000)
    watching = select.poll()
    watching.register(sock, select.POLLERR | select.POLLHUP | select.POLLRDHUP)
    async with asyncio.timeout(5):
        while not watching.poll(0):
            await asyncio.sleep(0)
    sock.close()


async def test_a_server_that_does_not_skip_disconnects_at_the_first_frame_that_is_not_taken(
    clock: FakeClock, tmp_path: Path, small_graph: Graph
) -> None:
    options = ServerOptions(active_interval_ms=0.001, stable_interval_ms=1000, slow_client=SlowClientPolicy.DISCONNECT)
    stage = Stage(tmp_path, options, small_graph, clock=clock)
    await stage.start()
    viewer = await stage.connect()
    sock = await sleeper(stage, others=1)
    for _ in range(10):
        await tick(stage, clock, 1)
        await viewer.receive_kind(PositionUpdate)
    traffic = stage.gateway.clients.traffic
    assert (traffic.stalled, traffic.skipped) == (1, 0)
    assert (await _read_all(sock)).endswith(frame(close_payload(1008, "too slow"), Opcode.CLOSE))
    sock.close()
    await stage.stop()


async def test_what_the_kernel_holds_for_one_client_is_bounded(stage: Stage) -> None:
    """Four frames of 280 KB: the kernel counts twice that, for its own book-keeping."""
    await stage.connect()
    (connection,) = stage.gateway.clients
    size = connection.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert size <= 2 * 4 * 280_100


async def test_others_are_served_meanwhile(clock: FakeClock, stage: Stage) -> None:
    sock = await sleeper(stage)
    viewer = await stage.connect()
    await viewer.receive_kind(FullGraph)
    for number in range(5):
        await tick(stage, clock, 1)
        assert (await viewer.receive_kind(PositionUpdate)).nodes["x"][0] == 0.0, number
    assert stage.gateway.clients.traffic.stalled == 0
    sock.close()


async def test_a_filter_of_a_client_that_is_behind_is_answered_once_it_reads(clock: FakeClock, stage: Stage) -> None:
    sock = await sleeper(stage)
    loop = asyncio.get_running_loop()
    await tick(stage, clock, 10)
    update = FilterUpdate(Filter(search="node 77"))
    await loop.sock_sendall(sock, frame_masked(encode(update), b"mask"))
    (connection,) = stage.gateway.clients
    async with asyncio.timeout(5):
        while not connection.graph_pending:
            await asyncio.sleep(0)
        reading = asyncio.create_task(_read_forever(loop, sock))
        while connection.graph_pending:
            await tick(stage, clock, 1)
    reading.cancel()
    assert connection.audience.variant.filter == update.filter
    sock.close()


async def _read_forever(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    while await loop.sock_recv(sock, 1 << 20):
        pass


async def test_a_silent_client_is_sent_a_heartbeat_once_in_thirty_seconds(clock: FakeClock, stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.receive_kind(FullGraph)
    await tick(stage, clock, 1, step_us=29_000_000)
    await tick(stage, clock, 1, step_us=2_000_000)
    await tick(stage, clock, 3)
    received = [await viewer.receive() for _ in range(6)]
    heartbeats = [message for message in received if isinstance(message, Heartbeat)]
    assert [heartbeat.responder_timestamp_us for heartbeat in heartbeats] == [None]


async def test_a_client_that_speaks_is_not_asked_for_a_sign(clock: FakeClock, stage: Stage) -> None:
    viewer = await stage.connect()
    for _ in range(5):
        await tick(stage, clock, 1, step_us=20_000_000)
        await viewer.send(Heartbeat(1))
        reply = await viewer.receive_kind(Heartbeat)
        assert reply.responder_timestamp_us is not None
