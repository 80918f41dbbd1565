"""The load generator's engine: thousands of WebSocket clients on bare sockets in one epoll loop.

It reads in batches, every few milliseconds: fewer wake-ups for the same messages, and the server gets the cores. That
costs no accuracy, since the kernel stamps what arrives (SO_TIMESTAMPNS). It reads from the first connection on:
sockets that nobody reads fill the kernel's TCP memory, and then connections stall in retransmission.
"""

from __future__ import annotations

import errno
import heapq
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from vfctl.client.lifecycle import Action, Close, Open, StartTimer, State
from vfctl.errors import ProtocolError
from vfctl.loadtest.frames import Arrived, FrameReader, whole_update
from vfctl.loadtest.handshake import check_response, new_key, request
from vfctl.loadtest.meter import Meter
from vfctl.loadtest.observations import Outcome
from vfctl.loadtest.plan import CONNECT_TIMEOUT_S, Shard, due_connects, heartbeats_due
from vfctl.loadtest.simulated_client import SimulatedClient
from vfctl.protocol import FilterUpdate, Heartbeat, MessageType, decode, encode
from vfctl.protocol.websocket import Opcode, close_payload, frame_masked
from vfctl.protocol.wire import TRAILER

BATCH_S: Final = 0.003
"""Time between two rounds of reading."""

BUFFER_BYTES: Final = 512 * 1024
FIRST_READ_BYTES: Final = 16 * 1024
MAX_OPENING: Final = 512
"""Handshakes under way at once in one process: enough to keep a server busy, too few to overrun its backlog."""

HEARTBEAT_S: Final = 30.0

IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Linux: choose the port at connect, when the destination is known, not at bind. Python has no name for it."""
SO_TIMESTAMPNS: Final = 35
"""Linux: stamp arrivals with CLOCK_REALTIME in ns. Python has no name for it."""

_TIMESPEC: Final = struct.Struct("@qq")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)


class Engine:
    """Runs one shard's clients. Call `step` in a loop; it takes about BATCH_S each time.

    Attributes:
        observations: what has been seen so far.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._clients = [SimulatedClient(number) for number in range(shard.clients)]
        self._by_fd: dict[int, SimulatedClient] = {}
        self._epoll = select.epoll()
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._started_s = time.monotonic()
        self._heartbeats_s = 0.0
        self._next_batch_s = self._started_s
        self._begun = 0
        self._opening = 0
        self._leaving = False
        self._meter = Meter()
        self.observations = self._meter.observations

    def measure(self, start_ns: int, end_ns: int) -> None:
        """Count what arrives within [start, end), unix time in ns."""
        self._meter.measure(start_ns, end_ns)

    def outcome(self) -> Outcome:
        """How the clients fare at this moment."""
        connected = failed = lost = connecting = reconnects = 0
        for client in self._clients:
            life = client.life
            reconnects += life.reconnects
            if life.state is State.CONNECTED:
                connected += 1
            elif client.ever_connected:
                lost += 1
            elif life.state is State.DISCONNECTED and client.attempt:
                failed += 1
            else:
                connecting += 1
        return Outcome(len(self._clients), connected, failed, lost, connecting, reconnects)

    def step(self) -> float:
        """One batch: connect who is due, run timers, read what has arrived, then let the machine breathe.

        Returns:
            How much later than planned the batch began, in seconds.
        """
        began_s = time.monotonic()
        lag_s = max(0.0, began_s - self._next_batch_s)
        self._connect_due(began_s)
        self._run_timers(began_s)
        self._send_heartbeats(began_s - self._started_s)
        for fd, _ in self._epoll.poll(0, len(self._by_fd) + 1):
            client = self._by_fd.get(fd)
            if client is not None:
                self._on_ready(client)
        self._next_batch_s = began_s + BATCH_S
        time.sleep(max(0.0, self._next_batch_s - time.monotonic()))
        return lag_s

    def leave(self) -> None:
        """Close all connections properly; nobody comes back."""
        self._meter.finish(self._clients, time.time_ns())
        self._leaving = True
        for client in self._clients:
            if client.life.state is State.CONNECTED:
                self._send(client, close_payload(1000), Opcode.CLOSE)
            client.life.disconnect()
            self._drop(client)
        self._epoll.close()
        self.observations.flush()

    # -- connecting ----------------------------------------------------------------------------------

    def _connect_due(self, now_s: float) -> None:
        due = due_connects(now_s - self._started_s, self._shard.ramp_s, len(self._clients))
        while self._begun < due and self._opening < MAX_OPENING and not self._leaving:
            client = self._clients[self._begun]
            self._begun += 1
            self._act(client, client.life.connect())

    def _act(self, client: SimulatedClient, action: Action | None) -> None:
        match action:
            case Open():
                self._open(client)
            case Close():
                self._drop(client)
            case StartTimer(delay_s):
                self._after(delay_s, lambda: self._act(client, client.life.backoff_elapsed()))

    def _open(self, client: SimulatedClient) -> None:
        target = self._shard.target
        client.attempt += 1
        client.started_ns = time.monotonic_ns()
        try:
            sock = client.socket = socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._shard.source_addresses:
                source = self._shard.source_addresses[client.number % len(self._shard.source_addresses)]
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
            code = sock.connect_ex(target.address)
        except OSError as error:
            self._opening += 1
            self._open_failed(client, _reason(error.errno))
            return
        self._opening += 1
        if code not in (0, errno.EINPROGRESS):
            self._open_failed(client, _reason(code))
            return
        self._by_fd[sock.fileno()] = client
        self._epoll.register(sock.fileno(), select.EPOLLOUT)
        attempt = client.attempt
        self._after(CONNECT_TIMEOUT_S, lambda: self._time_out(client, attempt))

    def _time_out(self, client: SimulatedClient, attempt: int) -> None:
        if client.attempt == attempt and client.life.state is State.CONNECTING:
            self._open_failed(client, "connect timed out")

    def _open_failed(self, client: SimulatedClient, reason: str) -> None:
        self._opening -= 1
        self.observations.errors[reason] += 1
        self._drop(client)
        self._act(client, client.life.open_failed())

    def _on_ready(self, client: SimulatedClient) -> None:
        if client.reader is not None:
            self._read(client)
        elif not client.key:
            self._send_request(client)
        else:
            self._read_response(client)

    def _send_request(self, client: SimulatedClient) -> None:
        sock = client.socket
        assert sock is not None
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._open_failed(client, _reason(code))
            return
        client.key = new_key()
        client.handshake = b""
        try:
            sock.send(request(self._shard.target.host, self._shard.target.resource, client.key))
        except OSError as error:
            self._open_failed(client, _reason(error.errno))
            return
        self._epoll.modify(sock.fileno(), select.EPOLLIN)

    def _read_response(self, client: SimulatedClient) -> None:
        assert client.socket is not None
        try:
            data = client.socket.recv(FIRST_READ_BYTES)
        except OSError as error:
            self._open_failed(client, _reason(error.errno))
            return
        if not data:
            self._open_failed(client, "closed during the handshake")
            return
        client.handshake += data
        try:
            length = check_response(client.handshake, client.key)
        except ProtocolError as error:
            self._open_failed(client, error.reason)
            return
        if length is not None:
            rest, client.handshake = client.handshake[length:], b""
            self._opened(client, rest)

    def _opened(self, client: SimulatedClient, rest: bytes) -> None:
        self._opening -= 1
        self.observations.record_connect((time.monotonic_ns() - client.started_ns) // 1000)
        client.reader = FrameReader(FIRST_READ_BYTES)
        client.ever_connected = True
        client.forget_rounds()
        self._act(client, client.life.opened(time.monotonic()))
        if self._shard.filter is not None:
            self._send(client, encode(FilterUpdate(self._shard.filter)), Opcode.BINARY)
        if rest:
            self._buffer[: len(rest)] = rest
            now_ns = time.time_ns()
            self._take_in(client, len(rest), now_ns, now_ns)

    # -- reading -------------------------------------------------------------------------------------

    def _read(self, client: SimulatedClient) -> None:
        reader, sock = client.reader, client.socket
        assert reader is not None
        assert sock is not None
        kept = len(reader.head)
        self._buffer[:kept] = reader.head
        wanted = min(max(reader.expected - kept, 1), BUFFER_BYTES - kept)
        try:
            count, ancillary, _, _ = sock.recvmsg_into([self._view[kept : kept + wanted]], _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._closed(client, 1006, _reason(error.errno))
            return
        if not count:
            self._closed(client, 1006, "connection lost")
            return
        read_ns = time.time_ns()
        if ancillary:
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            arrival_ns = seconds * 1_000_000_000 + nanoseconds
        else:
            arrival_ns = read_ns
            self.observations.user_space_stamps += 1
        start = whole_update(self._buffer, count) if client.life.proven and reader.at_start else 0
        if start:
            sequence, stamp_us, interval_us = TRAILER.unpack_from(self._buffer, count - TRAILER.size)
            flags = self._buffer[start + 2]
            self._meter.note_update(client, flags, count, sequence, stamp_us, interval_us, arrival_ns, read_ns)
            reader.expected = count
        else:
            self._take_in(client, kept + count, arrival_ns, read_ns)

    def _take_in(self, client: SimulatedClient, end: int, arrival_ns: int, read_ns: int) -> None:
        reader = client.reader
        assert reader is not None
        try:
            for arrived in reader.feed(self._buffer, end):
                self._note(client, arrived, arrival_ns, read_ns)
                if client.reader is not reader:
                    return  # closed by what has arrived
        except ProtocolError as error:
            self._send(client, close_payload(1002, error.message), Opcode.CLOSE)
            self._closed(client, 1002, f"protocol error: {error.reason}")

    def _note(self, client: SimulatedClient, arrived: Arrived, arrival_ns: int, read_ns: int) -> None:
        """One message or control frame is complete."""
        if arrived.opcode >= Opcode.CLOSE:
            self._control(client, arrived)
            return
        if not client.life.proven:
            client.life.observe(arrived.type_id)
        self._meter.note(client, arrived, arrival_ns, read_ns)
        if arrived.type_id == MessageType.HEARTBEAT and arrived.payload is not None:
            self._answer_heartbeat(client, arrived.payload)

    def _control(self, client: SimulatedClient, arrived: Arrived) -> None:
        payload = arrived.payload or b""
        if arrived.opcode == Opcode.PING:
            self._send(client, payload, Opcode.PONG)
        elif arrived.opcode == Opcode.CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self._send(client, payload[:2], Opcode.CLOSE)
            self._closed(client, code, f"closed by the server with {code}")

    def _closed(self, client: SimulatedClient, code: int, reason: str) -> None:
        self.observations.errors[reason] += 1
        self._drop(client)
        self._act(client, client.life.closed(code, time.monotonic()))

    # -- writing -------------------------------------------------------------------------------------

    def _answer_heartbeat(self, client: SimulatedClient, payload: bytes) -> None:
        message = decode(payload)
        if isinstance(message, Heartbeat) and message.responder_timestamp_us is None:
            reply = Heartbeat(message.timestamp_us, time.time_ns() // 1000)
            self._send(client, encode(reply), Opcode.BINARY)

    def _send_heartbeats(self, elapsed_s: float) -> None:
        last_s, self._heartbeats_s = self._heartbeats_s, elapsed_s
        framed = b""
        for number in heartbeats_due(last_s, elapsed_s, len(self._clients), HEARTBEAT_S):
            client = self._clients[number]
            if client.life.state is State.CONNECTED:
                if not framed:  # one for all of this batch: they are sent at the same moment
                    framed = frame_masked(encode(Heartbeat(time.time_ns() // 1000)), os.urandom(4))
                self._send_framed(client, framed)

    def _send(self, client: SimulatedClient, payload: bytes, opcode: Opcode) -> None:
        self._send_framed(client, frame_masked(payload, os.urandom(4), opcode))

    def _send_framed(self, client: SimulatedClient, framed: bytes) -> None:
        """Send a small message. A socket that does not take it at once has not been read by the server for long."""
        if client.socket is None:
            return
        try:
            client.socket.send(framed)
        except OSError as error:
            self.observations.errors[f"send: {_reason(error.errno)}"] += 1

    # -- timers and clearing up ----------------------------------------------------------------------

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._timer_count, call))

    def _run_timers(self, now_s: float) -> None:
        while self._timers and self._timers[0][0] <= now_s:
            heapq.heappop(self._timers)[2]()

    def _drop(self, client: SimulatedClient) -> None:
        if client.socket is not None:
            self._by_fd.pop(client.socket.fileno(), None)
            client.socket.close()  # epoll forgets a closed descriptor by itself
        client.socket = None
        client.reader = None
        client.key = ""
        client.handshake = b""


def _reason(code: int | None) -> str:
    return os.strerror(code).lower() if code else "unknown error"
