"""Frames that go past the transports: nothing lost, nothing mixed up."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import tempfile
from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt
import pytest

from vfctl.graph.generators import generate
from vfctl.protocol import NODE_DTYPE, Filter
from vfctl.server.gateway.client_manager import ClientManager
from vfctl.server.gateway.connection import ClientSocket, Connection
from vfctl.sockets import shared_pages, submission_ring
from vfctl.sockets.fan_out import BATCH, SHARED_BYTES, FanOut
from vfctl.sockets.shared_pages import PIPE_BYTES
from vfctl.stream import ConnectionOptions, Scene

FAR_AHEAD_US = 10**12


class Ends:
    """Clients of one manager on real connections; their far ends are read by the test."""

    def __init__(self) -> None:
        graph = generate("scale-free", 400, 0)
        nodes = np.zeros(len(graph), NODE_DTYPE)
        nodes["id"] = graph.ids
        self.scene = Scene(graph, nodes, False, 1)
        self.clients = ClientManager(FAR_AHEAD_US, FAR_AHEAD_US)
        self.far: list[socket.socket] = []

    async def add(self) -> Connection:
        near, far = socket.socketpair()
        far.setblocking(False)
        self.far.append(far)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
        options = ConnectionOptions.from_query({"timed": "1"})
        audience = self.scene.audience(options.variant)
        return self.clients.add(ClientSocket(), transport, options, audience, 0)

    def deliver(self, connections: list[Connection], sequence: int) -> bytes:
        self.scene.confirm(sequence)
        slots = np.array([connection.slot for connection in connections], np.int32)
        self.clients.sender.send_updates(slots, sequence, 50_000, 1000 * sequence)
        return connections[0].audience.position_update(sequence, 50_000)

    async def read_all(self, index: int) -> bytes:
        """Until nothing comes for a while."""
        data = bytearray()
        idle = 0
        while idle < 20:
            try:
                data += self.far[index].recv(2**20)
                idle = 0
            except BlockingIOError:
                idle += 1
            await asyncio.sleep(0.001)
        return bytes(data)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    yield made
    for connection in made.clients:
        connection.transport.abort()
    for far in made.far:
        far.close()
    await asyncio.sleep(0)


async def test_all_get_the_same_frame(ends: Ends) -> None:
    connections = [await ends.add() for _ in range(5)]
    framed = ends.deliver(connections, 1)
    assert [await ends.read_all(index) for index in range(5)] == [framed] * 5
    assert (ends.clients.traffic.frames, ends.clients.traffic.bytes) == (5, 5 * len(framed))


async def test_one_that_takes_only_a_part_gets_the_rest_and_then_skips(ends: Ends) -> None:
    """The others are not held up, and no frame is ever begun before the one before it is complete."""
    slow, fast = await ends.add(), await ends.add()
    sent, sequence = [], 0
    while not slow.transport.get_write_buffer_size():
        sequence += 1
        sent.append(ends.deliver([slow, fast], sequence))
        await ends.read_all(1) if sequence % 4 == 0 else None
        assert sequence < 1000
    skipped = ends.deliver([slow, fast], sequence + 1)
    assert ends.clients.traffic.skipped == 1
    assert await ends.read_all(0) == b"".join(sent)
    assert (await ends.read_all(1)).endswith(skipped)
    again = ends.deliver([slow, fast], sequence + 2)
    assert await ends.read_all(0) == again
    assert slow.backlog.waiting_bytes == 0


async def test_what_waits_in_the_transport_goes_first(ends: Ends) -> None:
    connection = await ends.add()
    connection.transport.write(b"first" * 200_000)
    assert connection.transport.get_write_buffer_size()
    ends.deliver([connection], 1)
    assert await ends.read_all(0) == b"first" * 200_000


async def test_a_connection_that_is_closing_or_gone_gets_nothing(ends: Ends) -> None:
    closing, gone, there = [await ends.add() for _ in range(3)]
    closing.transport.close()
    ends.far[1].close()
    framed = ends.deliver([closing, gone, there], 1)
    assert await ends.read_all(2) == framed
    await asyncio.sleep(0.01)
    assert gone.transport.is_closing()


async def test_any_write_to_a_transport_disables_direct_writes_until_it_is_empty(ends: Ends) -> None:
    """Otherwise a frame could be written into the middle of an earlier message."""
    connection, other = await ends.add(), await ends.add()
    expected = [ends.deliver([connection, other], 1)]
    big = b"n" * 60_000
    for sequence in range(2, 40):
        if connection.transport.get_write_buffer_size():
            break
        assert ends.clients.sender.send(connection, big)
        expected.append(big)
        skipped = ends.clients.traffic.skipped
        framed = ends.deliver([connection, other], sequence)  # the notice may still wait: no frame into its middle
        if ends.clients.traffic.skipped == skipped:
            expected.append(framed)
    assert ends.clients.traffic.skipped
    assert await ends.read_all(0) == b"".join(expected)


@pytest.mark.parametrize("how", ["pong", "close"])
async def test_what_aiohttp_writes_by_itself_is_known(ends: Ends, how: str) -> None:
    connection, other = await ends.add(), await ends.add()
    first = ends.deliver([connection, other], 1)
    writing = connection.socket.pong(b"?") if how == "pong" else connection.socket.close()
    with pytest.raises(RuntimeError, match="prepare"):  # it has no request here; it has said what it is about to do
        await writing
    connection.transport.write(b"itself")
    second = ends.deliver([connection, other], 2)
    third = ends.deliver([connection, other], 3)
    received = await ends.read_all(0)
    assert received == first + b"itself" + (second + third if how == "pong" else b"")
    assert await ends.read_all(1) == first + second + third


async def test_a_descriptor_that_is_anothers_by_now_gets_nothing(ends: Ends) -> None:
    """Between the end of a connection and the moment when its task hears of it, another may have its descriptor."""
    lost, there = await ends.add(), await ends.add()
    first = ends.deliver([lost, there], 1)
    near, far = socket.socketpair()
    lost.transport.abort()
    with near, far:
        with contextlib.suppress(OSError):  # it is closed
            while os.fstat(lost.fd):
                await asyncio.sleep(0.001)
        os.dup2(near.fileno(), lost.fd)
        far.setblocking(False)
        try:
            second = ends.deliver([lost, there], 2)
        finally:
            os.close(lost.fd)
        assert await ends.read_all(1) == first + second
        with pytest.raises(BlockingIOError):
            far.recv(1)


async def test_slots_are_reused(ends: Ends) -> None:
    connections = [await ends.add() for _ in range(70)]
    assert len({connection.slot for connection in connections}) == 70
    left = connections[3].slot
    ends.clients.remove(connections[3])
    again = await ends.add()
    assert (connections[3].slot, again.slot) == (-1, left)
    framed = ends.deliver([again, connections[69]], 1)
    assert await ends.read_all(70) == framed
    ends.clients.remove(connections[3])  # twice does no harm
    assert await ends.read_all(70) == b""


async def test_each_audience_gets_its_own(ends: Ends) -> None:
    connections = [await ends.add() for _ in range(6)]
    for connection in connections[::2]:
        variant = connection.audience.variant.with_filter(Filter(search="node 1"))
        ends.clients.set_audience(connection, ends.scene.audience(variant))
    for sequence in (1, 2):  # one by one, then by direct writes
        ends.deliver(connections, sequence)
        for index, connection in enumerate(connections):
            assert await ends.read_all(index) == connection.audience.position_update(sequence, 50_000)
    assert connections[0].audience is not connections[1].audience


@pytest.fixture(params=[True, False], ids=["io_uring", "send()"])
def fan_out(request: pytest.FixtureRequest) -> FanOut:
    made = FanOut(plain=not request.param)
    if request.param and not made.has_ring:
        pytest.skip("there is no io_uring here, or it is not allowed")
    return made


def test_what_was_not_taken_is_told(fan_out: FanOut) -> None:
    one, other = socket.socketpair()
    full, far = socket.socketpair()
    closed, ended = socket.socketpair()
    ended.close()
    with one, other, full, far, closed:
        for each in (one, full):
            each.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                full.send(b"x" * 4096)
        fds = np.array([full.fileno(), one.fileno(), 10**6, closed.fileno()], np.int32)
        assert fan_out.send(fds, (b"fra", b"me")) == [(0, 0), (2, 0), (3, 0)]
        assert other.recv(100) == b"frame"


def entered(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection; the near one does not wait."""
    near, far = map(stack.enter_context, socket.socketpair())
    near.setblocking(False)
    return near, far


def test_more_sockets_than_a_batch_holds(fan_out: FanOut) -> None:
    """Each socket several times, so that few descriptors are many connections; twice, so that rings go round."""
    with contextlib.ExitStack() as stack:
        pairs = [entered(stack) for _ in range(50)]
        fds = np.array([near.fileno() for near, _ in pairs] * 50, np.int32)
        for number in range(5):
            assert fan_out.send(fds, (b"%d" % number,)) == []
        assert {far.recv(1000) for _, far in pairs} == {b"".join(b"%d" % number * 50 for number in range(5))}


def test_a_part_is_told_as_a_part(fan_out: FanOut) -> None:
    with contextlib.ExitStack() as stack:
        pairs = [entered(stack) for _ in range(BATCH)]
        for near, _ in pairs:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        data = np.random.default_rng(0).bytes(SHARED_BYTES - 1)
        short = fan_out.send(np.array([near.fileno() for near, _ in pairs], np.int32), (data,))
        assert [index for index, _ in short] == list(range(BATCH))
        for (_, far), (_, taken) in zip(pairs, short, strict=True):
            assert 0 < taken < len(data)
            assert receive_exactly(far, taken) == data[:taken]
            far.setblocking(False)
            with pytest.raises(BlockingIOError):
                far.recv(1)


def test_without_io_uring_calls_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in most containers, where it is forbidden."""

    def forbidden() -> None:
        raise PermissionError(errno.EPERM, "forbidden")

    monkeypatch.setattr(submission_ring, "SubmissionRing", forbidden)
    assert not FanOut().has_ring


@pytest.mark.parametrize("size", [1000, SHARED_BYTES, 3 * SHARED_BYTES + 17, 2 * PIPE_BYTES + 12_345])
def test_large_frames_share_their_pages_and_arrive_whole(size: int, fan_out: FanOut) -> None:
    """Also those who read long after the next frame has been made; one whose buffer is small takes a part."""
    frames = [np.random.default_rng(number).bytes(size) for number in range(3)]
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        near, far = [], []
        for index in range(BATCH + 1):
            near.append(stack.enter_context(socket.socket()))
            if index == 0:
                near[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            near[-1].connect(listening.getsockname())
            near[-1].setblocking(False)
            far.append(stack.enter_context(listening.accept()[0]))
            far[-1].settimeout(5)
        fds = np.array([sock.fileno() for sock in near], np.int32)
        expected = [bytearray() for _ in near]
        for framed in frames:
            short = dict(fan_out.send(fds, (framed[:10], framed[10:])))
            for index, bytes_ in enumerate(expected):
                bytes_ += framed[: short.get(index, size)]
            assert set(short) <= {0} or size > PIPE_BYTES
        assert len(expected[1]) > PIPE_BYTES or size < PIPE_BYTES, "it goes in parts"
        for sock, bytes_ in zip(far, expected, strict=True):
            assert receive_exactly(sock, len(bytes_)) == bytes_


def test_a_frame_whose_second_part_finds_no_memory_is_told_as_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    fan_out = FanOut()
    real, calls = shared_pages._fill, []

    def short(pipe_fd: int, address: int, size: int, part: npt.NDArray[np.int64]) -> int:
        calls.append(size)
        return int(real(pipe_fd, address, size if len(calls) == 1 else 4096, part))

    monkeypatch.setattr(shared_pages, "_fill", short)
    with contextlib.ExitStack() as stack:
        data = np.random.default_rng(0).bytes(PIPE_BYTES + 100_000)
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(BATCH)]
        taken = fan_out.send(np.array([file.fileno() for file in files], np.int32), (data,))
        assert [index for index, _ in taken] == list(range(BATCH))
        for file, (_, count) in zip(files, taken, strict=True):
            file.seek(0)
            assert file.read() == data[:count]


def test_where_there_are_no_pages_to_share_nobody_has_taken_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their transports get it, then."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    fan_out = FanOut()
    monkeypatch.setattr(shared_pages.mmap, "mmap", refused)
    with contextlib.ExitStack() as stack:
        pairs = [entered(stack) for _ in range(BATCH)]
        fds = np.array([near.fileno() for near, _ in pairs], np.int32)
        assert fan_out.send(fds, (b"x" * SHARED_BYTES,)) == [(index, 0) for index in range(BATCH)]


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return bytes(data)


def test_a_closed_peer_costs_only_itself(fan_out: FanOut) -> None:
    """No SIGPIPE: of a large frame, too, which goes by splice()."""
    with contextlib.ExitStack() as stack:
        pairs = [entered(stack) for _ in range(BATCH)]
        pairs[0][1].close()
        framed = b"x" * SHARED_BYTES
        fds = np.array([near.fileno() for near, _ in pairs], np.int32)
        assert fan_out.send(fds, (framed,)) == [(0, 0)]
        assert receive_exactly(pairs[1][1], len(framed)) == framed
