"""Reads what has arrived for simulated clients, one frame per client at a time, into one shared buffer."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from vfctl.errors import ProtocolError
from vfctl.loadtest.generator.compiled_reading import BUFFER_BYTES, DONE, NO_CLIENT, PARSE, ReadPass, read_ready
from vfctl.loadtest.generator.dialer import reason_of
from vfctl.loadtest.generator.frames import MIN_UPDATE_BYTES, ReceivedMessage
from vfctl.loadtest.generator.meter import Meter
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.protocol import MessageType
from vfctl.protocol.websocket import Opcode, close_payload
from vfctl.sockets.calls import AGAIN, INTERRUPTED, epoll_wait, receive

MAX_EVENTS: Final = 2048
"""Sockets per read pass: what one process receives in 100 ms at 20,000 messages a second. The next pass reads more."""

_READABLE: Final = select.EPOLLIN | select.EPOLLET
"""Edge-triggered, so a socket that has been read is not polled again. A socket with more to read is re-armed."""


class ReceiveHandler(Protocol):
    """Handles what a client has to answer."""

    def on_heartbeat(self, client: SimulatedClient, payload: bytes, arrival_us: int) -> None:
        """A heartbeat arrived, or the reply to one of ours."""

    def on_closed(self, client: SimulatedClient, code: int, reason: str) -> None:
        """The connection has ended."""

    def send(self, client: SimulatedClient, payload: bytes, opcode: Opcode) -> None:
        """Send a small frame."""


class Receiver:
    """Reads messages and passes them to the meter and the handler.

    Args:
        clients: all clients of the process, by number.
        streams: int64 [clients, STREAM_WORDS], their stream states.
        roles: the number of roles.
    """

    def __init__(
        self,
        meter: Meter,
        handler: ReceiveHandler,
        clients: Sequence[SimulatedClient],
        streams: npt.NDArray[np.int64],
        roles: int,
    ) -> None:
        self._meter = meter
        self._handler = handler
        self._clients = clients
        self._streams = streams
        self._epoll = select.epoll()
        self._client_of = np.full(1024, NO_CLIENT, np.int32)
        self._buffer = bytearray(BUFFER_BYTES)
        self._bytes = np.frombuffer(self._buffer, np.uint8)
        self._pass = ReadPass(MAX_EVENTS, roles)
        self._stage = np.zeros(4, np.int64)
        self._more = False
        self._read_ready(0, 0)  # compiles now (some seconds, once) and not when the first frame has arrived

    def add(self, client: SimulatedClient) -> None:
        """Read an open connection from now on. Of an inattentive client only the end of the connection is noticed."""
        assert client.socket is not None
        fd = client.socket.fileno()
        if fd >= len(self._client_of):
            more = np.full(2 * fd - len(self._client_of), NO_CLIENT, np.int32)
            self._client_of = np.concatenate([self._client_of, more])
        self._client_of[fd] = client.number
        self._epoll.register(fd, _READABLE if client.attentive else select.EPOLLRDHUP)

    def remove(self, fd: int) -> None:
        """Forget a descriptor that is about to be closed; epoll notices the close by itself."""
        if fd < len(self._client_of):
            self._client_of[fd] = NO_CLIENT

    def close(self) -> None:
        """Close the epoll instance."""
        self._epoll.close()

    def read_pass(self) -> bool:
        """Read one frame of each client that has something to read.

        If the last message of a client was a whole update, another one is expected and read by compiled code.
        Everything else is parsed in Python.

        Returns:
            Whether a client has more to read.
        """
        reading = self._pass
        reading.clear()
        self._more = False
        self._stage[:] = self._meter.begin_pass()
        ready = epoll_wait(self._epoll.fileno(), reading.events_address, len(reading.events))
        first = 0
        while first < ready:
            why = self._read_ready(first, ready)
            if why == DONE:
                break
            at, number, count, arrival_ns, read_ns = reading.tally[2:7].tolist()
            first = at + 1
            client = self._clients[number]
            if why == PARSE:
                self._handle_read(client, count, count, arrival_ns, read_ns)
                self._rearm(client)
            else:
                self._handler.on_closed(client, 1006, reason_of(-count))
        self._meter.record_pass(reading, int(self._stage[3]))
        unusual, unread, *_, more = reading.tally.tolist()
        for fd in reading.more[:more].tolist():
            if self._client_of[fd] != NO_CLIENT:
                self._epoll.modify(fd, _READABLE)
        for number, *update in reading.unusual[:unusual].tolist():
            self._meter.record_update(self._clients[number], *update)
        for number in reading.unread[:unread].tolist():
            client = self._clients[number]
            if client.attentive:
                self.read_part(client, BUFFER_BYTES)
                self._rearm(client)
            else:
                self._handler.on_closed(client, 1006, "cut off while it read slowly")  # the only event that is polled
        return self._more or more > 0

    def _rearm(self, client: SimulatedClient) -> None:
        """Poll the client again in the next pass, because it may have more to read."""
        if client.socket is not None and self._client_of[client.socket.fileno()] == client.number:
            self._epoll.modify(client.socket.fileno(), _READABLE)

    def _read_ready(self, first: int, last: int) -> int:
        inputs = (self._client_of, self._streams, self._stage, self._bytes)
        return int(read_ready(self._pass.events, first, last, *inputs, *self._pass.outputs))

    def read_part(self, client: SimulatedClient, limit: int) -> None:
        """Read at most `limit` bytes, and not beyond the present frame."""
        reader = client.reader
        assert reader is not None
        assert client.socket is not None
        kept = len(reader.head)
        self._buffer[:kept] = reader.head
        wanted = min(max(reader.expected - kept, 1), BUFFER_BYTES - kept, limit)
        address = self._bytes.ctypes.data + kept
        count, arrival_ns, left = receive(client.socket.fileno(), address, wanted, self._pass.message)
        self._more = self._more or left > 0
        if count < 0:
            if count not in (-AGAIN, -INTERRUPTED):
                self._handler.on_closed(client, 1006, reason_of(-count))
            return
        self._handle_read(client, count, kept + count, arrival_ns, time.time_ns())

    def _handle_read(self, client: SimulatedClient, count: int, end: int, arrival_ns: int, read_ns: int) -> None:
        """Handle a read of `count` bytes, up to `end` in the buffer."""
        if not count:
            self._handler.on_closed(client, 1006, "connection lost")
            return
        if not arrival_ns:
            arrival_ns = read_ns
            self._meter.count_missing_stamp(client, arrival_ns)
        self._parse(client, end, arrival_ns, read_ns)

    def parse_rest(self, client: SimulatedClient, data: bytes) -> None:
        """Parse what arrived with the handshake, without a timestamp of its own."""
        self._buffer[: len(data)] = data
        now_ns = time.time_ns()
        self._parse(client, len(data), now_ns, now_ns)

    def _parse(self, client: SimulatedClient, end: int, arrival_ns: int, read_ns: int) -> None:
        reader = client.reader
        assert reader is not None
        client.whole_bytes = 0
        try:
            for message in reader.parse(self._buffer, end):
                self._handle(client, message, arrival_ns, read_ns)
                if client.reader is not reader:
                    return  # the message has closed the connection
        except ProtocolError as error:
            self._handler.send(client, close_payload(1002, error.message), Opcode.CLOSE)
            self._handler.on_closed(client, 1002, f"protocol error: {error.reason}")
            return
        if reader.at_start and client.life.proven and MIN_UPDATE_BYTES <= reader.expected <= BUFFER_BYTES:
            client.whole_bytes = reader.expected

    def _handle(self, client: SimulatedClient, message: ReceivedMessage, arrival_ns: int, read_ns: int) -> None:
        """Handle a complete message or control frame."""
        if message.opcode >= Opcode.CLOSE:
            self._handle_control(client, message)
            return
        if not client.life.proven:
            client.life.observe(message.type_id)
        self._meter.record_message(client, message, arrival_ns, read_ns)
        if message.type_id == MessageType.HEARTBEAT and message.payload is not None:
            self._handler.on_heartbeat(client, message.payload, arrival_ns // 1000)

    def _handle_control(self, client: SimulatedClient, message: ReceivedMessage) -> None:
        payload = message.payload or b""
        if message.opcode == Opcode.PING:
            self._handler.send(client, payload, Opcode.PONG)
        elif message.opcode == Opcode.CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self._handler.send(client, payload[:2], Opcode.CLOSE)
            self._handler.on_closed(client, code, f"closed by the server with {code}")
