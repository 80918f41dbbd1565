"""The engine against a scripted server on a real socket: how clients fare, and what is counted."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from vfctl.client.lifecycle import State
from vfctl.loadtest.engine import Engine
from vfctl.loadtest.plan import Shard, Target
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    Filter,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    PositionUpdate,
    Trailer,
    decode,
    encode,
)
from vfctl.protocol.websocket import Opcode, accept_key, apply_mask, close_payload, frame, parse_frame_header

LIMIT_S = 10.0
GRAPH = FullGraph(np.zeros(5, NODE_DTYPE), np.zeros(3, EDGE_DTYPE), trailer=Trailer(10, 1, 0))


class ScriptedServer:
    """Accepts, shakes hands, and does what the test says; driven step by step, in the test's own thread."""

    def __init__(self, respond: Callable[[str], bytes] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._respond = respond or accept
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.accepted = 0
        self.received: list[bytes] = []

    def step(self) -> None:
        while select.select([self._listener], [], [], 0)[0]:
            connection, _ = self._listener.accept()
            self.accepted += 1
            self.connections.append(connection)
        for connection in list(self.connections):
            if not select.select([connection], [], [], 0)[0]:
                continue
            try:
                data = connection.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                self.drop(connection)
            elif data.startswith(b"GET "):
                key = data.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
                connection.sendall(self._respond(key))
            else:
                self._take_frames(data)

    def _take_frames(self, data: bytes) -> None:
        while data:
            header = parse_frame_header(data)
            assert header is not None
            assert header.mask is not None, "clients mask their frames"
            end = header.header_length + header.payload_length
            self.received.append(apply_mask(data[header.header_length : end], header.mask))
            data = data[end:]

    def drop(self, connection: socket.socket) -> None:
        self.connections.remove(connection)
        connection.close()

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self._listener.close()


def accept(key: str) -> bytes:
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
    ).encode()


class Bench:
    """A server and an engine, stepped in turn until something holds."""

    def __init__(self, clients: int = 1, respond: Callable[[str], bytes] | None = None, **shard: object) -> None:
        self.server = ScriptedServer(respond)
        target = Target(socket.AF_INET, ("127.0.0.1", self.server.port), f"127.0.0.1:{self.server.port}", "/ws")
        self.engine = Engine(Shard(0, clients, 0.0, target, **shard))  # type: ignore[arg-type]

    def until(self, holds: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < deadline_s, f"not within {LIMIT_S} s; {self.engine.outcome()}"
            self.server.step()
            self.engine.step()

    def connected(self) -> None:
        self.until(lambda: self.engine.outcome().connecting == 0 and self.engine.outcome().connected)

    def send(self, *payloads: bytes) -> None:
        for connection in self.server.connections:
            connection.sendall(b"".join(frame(payload) for payload in payloads))


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        bench.engine.leave()
        bench.server.close()


@pytest.fixture
def make(benches: list[Bench]) -> Callable[..., Bench]:
    def make_bench(*arguments: object, **options: object) -> Bench:
        bench = Bench(*arguments, **options)  # type: ignore[arg-type]
        benches.append(bench)
        return bench

    return make_bench


def update(sequence: int, age_us: int = 0) -> bytes:
    trailer = Trailer(sequence, time.time_ns() // 1000 - age_us, 50_000)
    return encode(PositionUpdate(np.zeros(300, NODE_DTYPE), trailer=trailer))


def test_latency_is_from_the_trailer_to_the_kernels_stamp(make: Callable[..., Bench]) -> None:
    """The generator may be late to read; that is not the server's latency."""
    bench = make(3)
    bench.connected()
    bench.engine.measure(0, 2**62)
    bench.send(encode(GRAPH), update(11, age_us=5_000))
    time.sleep(0.2)  # the generator is held up
    bench.until(lambda: bench.engine.observations.messages == 6)
    bench.engine.observations.flush()
    latency = bench.engine.observations.latency
    assert latency.count == 3
    assert latency.min_us >= 5_000
    assert latency.max_us < 100_000
    assert bench.engine.observations.user_space_stamps == 0


def test_missing_rounds_are_gaps(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connected()
    bench.engine.measure(0, 2**62)
    bench.send(encode(GRAPH), update(10), update(11), update(14), update(15))
    bench.until(lambda: bench.engine.observations.messages == 5)
    assert bench.engine.observations.gaps == 2
    bench.send(encode(GRAPH), update(11))  # a FullGraph restarts the count
    bench.until(lambda: bench.engine.observations.messages == 7)
    assert bench.engine.observations.gaps == 2
    assert bench.engine.observations.frames == 7


def test_only_the_measured_window_counts(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connected()
    bench.send(update(1))
    client = bench.engine._clients[0]
    bench.until(lambda: client.sequence == 1)
    bench.engine.measure(time.time_ns() + 10**15, 2**62)
    bench.send(update(2))
    bench.until(lambda: client.sequence == 2)
    assert bench.engine.observations.messages == 0


def test_a_first_connect_that_fails_is_failed_for_good(make: Callable[..., Bench]) -> None:
    bench = make(4, lambda _: b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    bench.until(lambda: bench.engine.outcome().failed == 4)
    assert bench.engine.observations.errors == {"answered HTTP 503 Service Unavailable": 4}
    assert bench.server.accepted == 4


def test_nobody_listens(make: Callable[..., Bench]) -> None:
    bench = make(4)
    bench.server.close()
    bench.server._listener = socket.create_server(("127.0.0.1", 0))
    bench.server._listener.setblocking(False)
    bench.until(lambda: bench.engine.outcome().failed == 4)
    assert bench.engine.observations.errors == {"connection refused": 4}


def test_a_lost_connection_comes_back_by_the_life_cycle(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connected()
    bench.server.drop(bench.server.connections[0])
    bench.until(lambda: bench.engine.outcome().lost == 1)
    bench.until(lambda: bench.engine.outcome().connected == 1)  # after the first delay, 500 ms
    outcome = bench.engine.outcome()
    assert (outcome.reconnects, outcome.lost, bench.server.accepted) == (1, 0, 2)


def test_a_clean_close_is_lost_and_not_retried(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connected()
    bench.server.connections[0].sendall(frame(close_payload(1000), Opcode.CLOSE))
    bench.until(lambda: bench.engine.outcome().lost == 1)
    assert bench.engine._clients[0].life.state is State.DISCONNECTED
    assert bench.engine.observations.errors == {"closed by the server with 1000": 1}


def test_garbage_closes_with_1002(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connected()
    bench.server.connections[0].sendall(b"\xff\xff\xff\xff")
    bench.until(lambda: bench.engine.outcome().lost == 1)
    bench.until(lambda: bench.server.received)
    assert bench.server.received[0][:2] == close_payload(1002)[:2]


def test_pings_and_heartbeats_are_answered_and_the_filter_is_sent(make: Callable[..., Bench]) -> None:
    criteria = Filter(kinds=frozenset({"class"}))
    bench = make(filter=criteria)
    bench.connected()
    bench.until(lambda: bench.server.received)
    assert decode(bench.server.received.pop()) == FilterUpdate(criteria)
    bench.server.connections[0].sendall(frame(b"are you there", Opcode.PING))
    bench.until(lambda: bench.server.received)
    assert bench.server.received.pop() == b"are you there"
    bench.send(encode(Heartbeat(42)))
    bench.until(lambda: bench.server.received)
    reply = decode(bench.server.received.pop())
    assert isinstance(reply, Heartbeat)
    assert reply.timestamp_us == 42
    assert reply.responder_timestamp_us is not None


def test_leaving_says_goodbye(make: Callable[..., Bench]) -> None:
    bench = make(2)
    bench.connected()
    bench.engine.leave()
    bench.server.step()
    assert bench.server.received == [close_payload(1000)] * 2


def test_frames_that_come_with_the_handshake_are_read(make: Callable[..., Bench]) -> None:
    bench = make(1, lambda key: accept(key) + frame(encode(GRAPH)) + frame(update(10))[:50])
    bench.connected()
    assert bench.engine._clients[0].sequence == 10
    bench.engine.measure(0, 2**62)
    bench.server.connections[0].sendall(frame(update(10))[50:])
    bench.until(lambda: bench.engine.observations.messages == 1)
    assert bench.engine.observations.gaps == 0
