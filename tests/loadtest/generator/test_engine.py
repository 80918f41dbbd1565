"""The engine against a scripted server on a real socket: states of clients, and counts."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from vfctl.loadtest.generator.behaviour import ScriptContext
from vfctl.loadtest.generator.engine import Engine
from vfctl.loadtest.generator.meter import NEVER_NS
from vfctl.loadtest.generator.observations import Observations
from vfctl.loadtest.generator.plan import Target, plan_shards
from vfctl.loadtest.scenario.roles import Dragger, Flapping, ReconnectStorm, Recorded, Role, SlowReader, Speaker, Viewer
from vfctl.loadtest.scenario.traffic import Traffic
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    Filter,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    NodeDrag,
    PositionUpdate,
    Trailer,
    View,
    VoiceData,
    decode,
    encode,
)
from vfctl.protocol.websocket import Opcode, accept_key, apply_mask, close_payload, frame, parse_frame_header

LIMIT_S = 10.0
GRAPH = FullGraph(np.zeros(5, NODE_DTYPE), np.zeros(3, EDGE_DTYPE), trailer=Trailer(10, 1, 0))


class ScriptedServer:
    """Accepts connections and handshakes, and does what the test requires, step by step in the test's thread."""

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
                self._read_frames(data)

    def _read_frames(self, data: bytes) -> None:
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
    """A server and an engine; both are stepped until a condition holds."""

    def __init__(
        self,
        clients: int = 1,
        respond: Callable[[str], bytes] | None = None,
        roles: Sequence[Role] = (),
        context: ScriptContext | None = None,
        resource: str = "/ws",
    ) -> None:
        self.server = ScriptedServer(respond)
        target = Target(socket.AF_INET, ("127.0.0.1", self.server.port), f"127.0.0.1:{self.server.port}", resource)
        roles = tuple(roles) or (Viewer(),)
        (shard,) = plan_shards(target, roles, clients, context=context)
        self.engine = Engine(shard)
        self.engine.begin_stage(clients, 0.0, 0)

    @property
    def seen(self) -> Observations:
        """What clients of the first role have received in the present stage."""
        return self.engine.received[0]

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
        bench.engine.close()
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
    """A delay of the generator is not part of the latency."""
    bench = make(3)
    bench.connected()
    bench.send(encode(GRAPH), update(11, age_us=5_000))
    time.sleep(0.2)  # the generator is delayed
    bench.until(lambda: bench.seen.messages == 6)
    bench.seen.flush()
    latency = bench.seen.latency
    assert latency.count == 3
    assert latency.min_us >= 5_000
    assert latency.max_us < 100_000
    assert bench.seen.user_space_stamps == 0


def test_missing_updates_are_gaps(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connected()
    bench.send(encode(GRAPH), update(10), update(11), update(14), update(15))
    bench.until(lambda: bench.seen.messages == 5)
    assert bench.seen.gaps == 2
    bench.send(encode(GRAPH), update(11))  # a FullGraph restarts the count
    bench.until(lambda: bench.seen.messages == 7)
    assert bench.seen.gaps == 2
    assert bench.seen.frames == 7


def test_of_compact_every_frame_of_one_client_is_decoded(make: Callable[..., Bench]) -> None:
    """So the chain and the checksum are checked, which a sample cannot do; also after a reconnect."""
    bench = make(3, resource="/ws?encoding=compact&timed=1")
    bench.connected()
    nodes = np.zeros(5, NODE_DTYPE)
    nodes["id"] = range(5)
    view, encoder, history = View(nodes["id"]), CompactEncoder(), None
    payloads = [encode(FullGraph(nodes, GRAPH.edges, trailer=GRAPH.trailer))]
    for number in range(4):
        encoder.push(number, np.arange(15, dtype=np.float32).reshape(3, 5) + number / 10)
        section, history = encoder.section(view, history)
        trailer = Trailer(11 + number, time.time_ns() // 1000, 50_000)
        payloads.append(encode(CompactUpdate(5, section, False, trailer)))
    bench.send(*payloads)
    bench.until(lambda: bench.seen.messages == 15)
    assert (bench.seen.sampled >= 5, bench.seen.wrong) == (True, 0)
    for connection in list(bench.server.connections):
        bench.server.drop(connection)
    bench.until(lambda: bench.engine.outcome().reconnects == 3)
    bench.connected()
    bench.send(*payloads[:2], *payloads[3:])
    bench.until(lambda: bench.seen.messages == 27)
    assert bench.seen.wrong == 2
    assert any("predicted from state" in text for text in bench.engine.connects.errors)


def test_only_the_measured_window_counts(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connected()
    bench.send(update(1))
    bench.until(lambda: bench.seen.messages == 1)
    for start_ns, end_ns in ((time.time_ns() + 10**15, NEVER_NS), (0, time.time_ns() - 10**9)):
        bench.engine.begin_stage(1, 0.0, start_ns, end_ns)
        bench.send(update(2))
        bench.server.connections[0].sendall(frame(b"read it?", Opcode.PING))
        bench.until(lambda: bench.server.received)
        assert bench.server.received.pop() == b"read it?"
        assert bench.seen.messages == 0


def test_a_first_connect_that_fails_is_failed_for_good(make: Callable[..., Bench]) -> None:
    bench = make(4, lambda _: b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    bench.until(lambda: bench.engine.outcome().failed == 4)
    assert bench.engine.connects.errors == {"answered HTTP 503 Service Unavailable": 4}
    assert bench.server.accepted == 4


def test_a_refused_connection_is_failed(make: Callable[..., Bench]) -> None:
    bench = make(4)
    bench.server.close()
    bench.server._listener = socket.create_server(("127.0.0.1", 0))
    bench.server._listener.setblocking(False)
    bench.until(lambda: bench.engine.outcome().failed == 4)
    assert bench.engine.connects.errors == {"connection refused": 4}


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
    assert bench.engine.connects.errors == {"closed by the server with 1000": 1}
    first_retry_s = time.monotonic() + 0.7
    bench.until(lambda: time.monotonic() > first_retry_s)
    assert bench.server.accepted == 1


def test_garbage_closes_with_1002(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.connected()
    bench.server.connections[0].sendall(b"\xff\xff\xff\xff")
    bench.until(lambda: bench.engine.outcome().lost == 1)
    bench.until(lambda: bench.server.received)
    assert bench.server.received[0][:2] == close_payload(1002)[:2]


def test_pings_and_heartbeats_are_answered_and_the_filter_is_sent(make: Callable[..., Bench]) -> None:
    criteria = Filter(kinds=frozenset({"class"}))
    bench = make(roles=[Viewer(filter=criteria)])
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


def test_close_sends_a_close_frame(make: Callable[..., Bench]) -> None:
    bench = make(2)
    bench.connected()
    bench.engine.close()
    bench.server.step()
    assert bench.server.received == [close_payload(1000)] * 2


def test_frames_that_come_with_the_handshake_are_read(make: Callable[..., Bench]) -> None:
    bench = make(1, lambda key: accept(key) + frame(encode(GRAPH)) + frame(update(10))[:50])
    bench.connected()
    assert bench.seen.messages == 1
    bench.server.connections[0].sendall(frame(update(10))[50:])
    bench.until(lambda: bench.seen.messages == 2)
    assert bench.seen.gaps == 0


def test_a_stage_with_fewer_clients_disconnects_some_and_loses_none(make: Callable[..., Bench]) -> None:
    bench = make(6)
    bench.connected()
    bench.engine.begin_stage(2, 0.0, 0)
    bench.until(lambda: len(bench.server.connections) == 2)
    assert bench.server.received == [close_payload(1000)] * 4
    outcome = bench.engine.outcome()
    assert (outcome.target, outcome.connected, outcome.lost, outcome.failed) == (2, 2, 0, 0)
    bench.engine.begin_stage(5, 0.0, 0)
    bench.until(lambda: bench.engine.outcome().connected == 5)
    assert bench.engine.connects.errors == {}


def test_a_flapping_client_is_away_and_not_lost(make: Callable[..., Bench]) -> None:
    bench = make(1, roles=[Flapping(stay_s=0.1, away_s=0.4)])
    bench.connected()
    bench.until(lambda: bench.engine.outcome().away == 1)
    bench.until(lambda: not bench.server.connections)
    assert bench.engine.outcome().lost == 0
    bench.until(lambda: bench.server.accepted == 2)
    bench.until(lambda: bench.engine.outcome().connected == 1)
    assert bench.engine.connects.errors == {}


def test_in_a_reconnect_storm_all_clients_disconnect_at_once_and_reconnect(make: Callable[..., Bench]) -> None:
    bench = make(10, roles=[Viewer(), ReconnectStorm(every_s=0.2)])
    bench.connected()
    now_ns = time.time_ns()
    bench.engine.begin_stage(10, 0.0, now_ns, now_ns + 300_000_000, storms=True)
    bench.until(lambda: bench.engine.outcome().lost == 5)
    assert bench.engine.outcomes()[0].connected == 5
    bench.until(lambda: bench.engine.outcome().connected == 10)  # after the first delay, 500 ms
    bench.engine.connects.flush()
    assert bench.engine.connects.reconnect.count == 5
    assert 500_000 <= bench.engine.connects.reconnect.min_us < 5_000_000
    assert bench.engine.outcome().reconnects == 5


def fill(connection: socket.socket) -> int:
    """Send whole frames until the socket is full. Returns the bytes sent."""
    connection.setblocking(False)
    sent = 0
    framed = frame(update(sent)) * 10
    try:
        while True:
            sent += connection.send(framed)
    except BlockingIOError:
        return sent


def test_a_reader_that_never_reads_may_be_disconnected_and_is_not_lost(make: Callable[..., Bench]) -> None:
    bench = make(1, roles=[SlowReader()])
    bench.connected()
    (connection,) = bench.server.connections
    assert fill(connection) < 10_000_000
    for _ in range(5):
        bench.engine.step()
    assert bench.seen.messages == 0
    fill(connection)
    assert fill(connection) == 0, "nothing has been read"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
    bench.server.drop(connection)
    bench.until(lambda: bench.engine.outcome().away == 1)
    assert bench.engine.outcome().lost == 0
    assert bench.engine.connects.errors == {"cut off while it read slowly": 1}
    bench.until(lambda: bench.engine.outcome().connected == 1)


def test_a_slow_reader_reads_no_faster_than_its_rate(make: Callable[..., Bench]) -> None:
    bench = make(1, roles=[SlowReader(bytes_per_s=50_000)])
    bench.connected()
    began_s = time.monotonic()
    fill(bench.server.connections[0])
    bench.until(lambda: bench.seen.messages >= 3)  # of 8.4 KB each
    assert time.monotonic() - began_s >= 0.3
    bench.seen.flush()
    assert bench.engine.drain_recent().count == 0, "not for the display: its lateness is its own"


def test_voice_latency_is_end_to_end(make: Callable[..., Bench]) -> None:
    bench = make(2, roles=[Speaker(talk_s=0.1, pause_s=0)])
    bench.connected()
    bench.until(lambda: bench.server.received)
    spoken = bench.server.received[0]
    assert isinstance(decode(spoken), VoiceData)
    bench.send(spoken)
    bench.until(lambda: bench.seen.messages >= 2)
    bench.seen.flush()
    assert bench.seen.voice.count == 2
    assert 0 <= bench.seen.voice.min_us < 10_000_000


def test_a_dragger_drags(make: Callable[..., Bench]) -> None:
    bench = make(1, roles=[Dragger(rate_hz=50, hold_s=0.1, pause_s=0.1)], context=ScriptContext(node_ids=(7,)))
    bench.connected()
    bench.until(lambda: len(bench.server.received) >= 5)
    drags = [decode(payload) for payload in bench.server.received]
    assert [drag.node_id for drag in drags if isinstance(drag, NodeDrag)] == [7] * len(drags)
    assert [drag.final for drag in drags[:5] if isinstance(drag, NodeDrag)] == [False] * 4 + [True]


def test_heartbeats_measure_the_servers_clock(make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock 5 s ahead is measured to within half a round trip, and latency is corrected."""
    monkeypatch.setattr(
        "vfctl.loadtest.generator.engine.CLOCK_PROBES", 1
    )  # one client alone asks, so it asks every second
    ahead_us = 5_000_000
    bench = make(1)
    bench.connected()
    bench.until(lambda: bench.server.received)
    probe = decode(bench.server.received[0])
    assert isinstance(probe, Heartbeat)
    bench.send(encode(Heartbeat(probe.timestamp_us, time.time_ns() // 1000 + ahead_us)))
    bench.until(lambda: bench.engine.clock() is not None)
    clock = bench.engine.clock()
    assert clock is not None
    assert abs(clock.offset_us - ahead_us) <= clock.error_us
    bench.engine.set_clock_offset(round(clock.offset_us))
    bench.send(encode(GRAPH), update(11, age_us=-ahead_us))
    bench.until(lambda: bench.seen.messages == 3)
    bench.seen.flush()
    assert abs(bench.seen.latency.max_us) <= clock.error_us + 1_000_000


def test_a_server_of_another_kind_is_counted_without_latency(make: Callable[..., Bench]) -> None:
    bench = make(2)
    bench.connected()
    for connection in bench.server.connections:
        connection.sendall(frame(b"hello", Opcode.TEXT) + frame(b"\x09\x00 not V4") + frame(b""))
    bench.until(lambda: bench.seen.messages == 6)
    bench.seen.flush()
    assert (bench.seen.frames, bench.seen.latency.count, bench.seen.bytes) == (0, 0, 2 * (7 + 11 + 2))


def test_recorded_traffic_is_sent_as_it_was_at_its_times(make: Callable[..., Bench]) -> None:
    drags = [encode(NodeDrag(number, 1, 2, 3)) for number in range(3)]
    traffic = Traffic(connections=(tuple((0.05 * number, drag) for number, drag in enumerate(drags)),), period_s=0.3)
    began_s = time.monotonic()
    bench = make(1, roles=[Recorded(traffic="x")], context=ScriptContext(traffic=(traffic,)))
    bench.connected()
    bench.until(lambda: len(bench.server.received) >= 7)
    assert time.monotonic() - began_s >= 0.5  # the second time round ends at 0.4 s, the third one begins at 0.6
    received = [payload for payload in bench.server.received if payload in drags]
    first = drags.index(received[0])
    assert received[:6] == [drags[(first + number) % 3] for number in range(6)]
