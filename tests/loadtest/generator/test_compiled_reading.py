"""Compiled reading and reading in Python, on real sockets, must give the same results."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.loadtest.generator.frames import FrameReader
from vfctl.loadtest.generator.meter import SAMPLE_EVERY, Meter
from vfctl.loadtest.generator.observations import Observations
from vfctl.loadtest.generator.receiver import Receiver
from vfctl.loadtest.generator.simulated_client import STREAM_WORDS, SimulatedClient
from vfctl.loadtest.scenario.roles import Viewer
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, Heartbeat, Message, PositionUpdate, Trailer, encode
from vfctl.protocol.websocket import Opcode, close_payload, frame
from vfctl.sockets.calls import SO_TIMESTAMPNS, TCP_INQ

INTERVAL_US = 50_000
T0_US = 1_700_000_000_000_000


@dataclass
class Handler:
    """Records what the receiver reports."""

    closed: list[tuple[int, str]]
    heartbeats: int = 0

    def on_heartbeat(self, client: SimulatedClient, payload: bytes, arrival_us: int) -> None:
        self.heartbeats += 1

    def on_closed(self, client: SimulatedClient, code: int, reason: str) -> None:
        self.closed.append((code, reason))
        client.reader = None

    def send(self, client: SimulatedClient, payload: bytes, opcode: Opcode) -> None:
        pass


class Listener:
    """One client on a real connection.

    Args:
        compiled: False if Python code handles every message.
    """

    def __init__(self, server: socket.socket, end: socket.socket, compiled: bool = True) -> None:
        self.server = server
        self._compiled = compiled
        self.errors: Counter[str] = Counter()
        self.handler = Handler([])
        self.meter = Meter([Viewer()], self.errors)
        self.meter.begin(0)
        streams = np.zeros((1, STREAM_WORDS), np.int64)
        self.client = SimulatedClient(0, stream=streams[0])
        self.client.socket = end
        self.client.reader = FrameReader(4096)
        self.client.life.connect()
        self.client.life.opened(0.0)
        self.receiver = Receiver(self.meter, self.handler, [self.client], streams, 1)
        self.receiver.add(self.client)

    @property
    def seen(self) -> Observations:
        return self.meter.report(0)[0].roles[0]

    def send(self, data: bytes) -> None:
        """Send it and read until nothing is left."""
        self.server.sendall(data)
        while self._unread_bytes():
            if not self._compiled:
                self.client.whole_bytes = 0
            self.receiver.read_pass()

    def _unread_bytes(self) -> int:
        assert self.client.socket is not None
        return (
            not self.handler.closed
            and struct.unpack("@i", fcntl.ioctl(self.client.socket, termios.FIONREAD, bytes(4)))[0]
        )


@contextmanager
def listeners(*ways: bool) -> Iterator[list[Listener]]:
    made, open_sockets = [], []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for compiled in ways:
            end = socket.create_connection(listening.getsockname())
            server, _ = listening.accept()
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            end.setsockopt(socket.IPPROTO_TCP, TCP_INQ, 1)
            end.setblocking(False)
            open_sockets += [server, end]
            made.append(Listener(server, end, compiled))
    try:
        yield made
    finally:
        for listener in made:
            listener.receiver.close()
        for each in open_sockets:
            each.close()


def update(nodes: int, sequence: int, stamp_us: int, interval_us: int = INTERVAL_US, settled: bool = False) -> bytes:
    state = np.zeros(nodes, NODE_DTYPE)
    state["id"] = range(nodes)
    return frame(encode(PositionUpdate(state, settled, Trailer(sequence, stamp_us, interval_us))))


def other(message: Message) -> bytes:
    return frame(encode(message))


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """A stream with messages in order, and with faults."""
    sent, sequence, stamp_us = [], 1, T0_US
    for _ in range(draw(st.integers(1, 25))):
        match draw(st.integers(0, 11)):
            case 0:
                sequence += draw(st.integers(-2, 3))
            case 1:
                stamp_us += draw(st.integers(-1000, 200_000))
            case 2:
                graph = FullGraph(
                    np.zeros(2, NODE_DTYPE), np.zeros(1, EDGE_DTYPE), trailer=Trailer(sequence, stamp_us, 0)
                )
                sent.append(other(graph))
            case 3:
                sent.append(other(Heartbeat(stamp_us)))
            case 4:
                sent.append(frame(b"ping", Opcode.PING))
            case 5:
                sent.append(frame(b"a text", Opcode.TEXT))
        nodes = draw(st.sampled_from([0, 1, 3, 3, 3, 4, 2400]))
        interval_us = draw(st.sampled_from([INTERVAL_US, INTERVAL_US, 1_000_000, 0]))
        sent.append(update(nodes, max(0, sequence), stamp_us, interval_us, draw(st.booleans())))
        sequence += 1
        stamp_us += INTERVAL_US + draw(st.integers(-20, 20))
    return sent


def results_of(listener: Listener) -> tuple[object, ...]:
    seen = listener.seen
    counts = (seen.messages, seen.bytes, seen.frames, seen.gaps, seen.duplicates, seen.reordered, seen.wrong)
    histograms = (seen.latency.count, seen.latency_user.count, seen.latency_corrected.count)
    stream = listener.client.stream.tolist()
    return counts, histograms, stream, listener.handler.closed, listener.handler.heartbeats, listener.errors


@settings(max_examples=60, deadline=None)
@given(sent=streams())
def test_compiled_and_python_reading_give_the_same_results(sent: Sequence[bytes]) -> None:
    with listeners(True, False) as (fast, slow):
        for data in sent:
            fast.send(data)
            slow.send(data)
        slow.client.whole_bytes = fast.client.whole_bytes
        assert results_of(fast) == results_of(slow)
        assert fast.seen.messages == sum(data[0] != 0x80 | Opcode.PING for data in sent)


def test_a_late_update_counts_from_when_it_was_due() -> None:
    with listeners(True) as (listener,):
        now_us, later_us = time.time_ns() // 1000, []
        for index, late_us in enumerate([0, 0, 700, 0]):
            listener.send(update(3, index + 1, now_us + index * INTERVAL_US + late_us - 10**7))
            seen = listener.seen
            later_us.append(round((seen.latency_corrected.mean_us() - seen.latency.mean_us()) * (index + 1)))
        # The one after the late one is early against what the late one has announced, so it is in time.
        assert later_us == [0, 0, 700, 700]


@pytest.mark.parametrize("compiled", [True, False])
def test_waiting_frames_are_read_one_per_pass(compiled: bool) -> None:
    """A frame has a kernel timestamp of its own only if it is read by itself."""
    with listeners(compiled) as (listener,):
        listener.send(update(3, 1, T0_US))
        listener.server.sendall(b"".join(update(3, number, T0_US + number) for number in range(2, 6)))
        counts, more = [], []
        for _ in range(5):
            more.append(listener.receiver.read_pass())
            counts.append(listener.meter.totals()[0])
        assert counts == [2, 3, 4, 5, 5]
        assert more == [True, True, True, False, False]


def test_one_update_in_1009_is_decoded_whole() -> None:
    with listeners(True) as (listener,):
        for number in range(1, 1024 + SAMPLE_EVERY + 10):
            listener.server.sendall(update(1, number, T0_US))
            listener.receiver.read_pass()
        assert listener.seen.sampled == 11, "gaps of 1, 2, 4, … 512 and 1,009"
        assert listener.seen.wrong == 0


def test_a_stage_that_is_over_counts_nothing() -> None:
    with listeners(True) as (listener,):
        listener.meter.begin(1, 2)
        listener.send(update(3, 1, T0_US))
        listener.send(update(3, 2, T0_US))
        assert listener.meter.totals() == (0, 0)
        assert listener.client.sequence == 2


@pytest.mark.parametrize("compiled", [True, False])
def test_the_end_of_a_connection_is_noticed(compiled: bool) -> None:
    with listeners(compiled) as (listener,):
        listener.send(update(3, 1, T0_US))
        listener.send(frame(close_payload(1001), Opcode.CLOSE))
        assert [code for code, _ in listener.handler.closed] == [1001]
    with listeners(compiled) as (listener,):
        listener.send(update(3, 1, T0_US))
        listener.server.close()
        listener.receiver.read_pass()
        assert listener.handler.closed == [(1006, "connection lost")]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_masked_frame_is_a_protocol_error(compiled: bool) -> None:
    with listeners(compiled) as (listener,):
        listener.send(update(3, 1, T0_US))
        data = bytearray(update(3, 2, T0_US))
        data[1] |= 0x80
        listener.send(bytes(data))
        assert [code for code, _ in listener.handler.closed] == [1002]
