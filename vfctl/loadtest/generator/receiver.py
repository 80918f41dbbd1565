"""Reads what has come for simulated clients, one frame of each at a time, into one buffer that they all share."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from vfctl.errors import ProtocolError
from vfctl.loadtest.generator.compiled_reading import BUFFER_BYTES, DONE, LOOK, NOBODY, Round, read_ready
from vfctl.loadtest.generator.dialer import reason_of
from vfctl.loadtest.generator.frames import LEAST_UPDATE_BYTES, Arrived
from vfctl.loadtest.generator.meter import Meter
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.protocol import MessageType
from vfctl.protocol.websocket import Opcode, close_payload
from vfctl.sockets.calls import AGAIN, INTERRUPTED, epoll_wait, receive

MAX_EVENTS: Final = 2048
"""Sockets read in one round: what one process gets in 100 ms at 20,000 messages a second. More come in the next."""

_READABLE: Final = select.EPOLLIN | select.EPOLLET
"""Edge-triggered: a socket that has been read is not looked at once more, a round later. One that has
more to read is asked for anew."""


class Owner(Protocol):
    """Told of what a client has to answer."""

    def on_heartbeat(self, client: SimulatedClient, payload: bytes, arrival_us: int) -> None:
        """A heartbeat, or the reply to one of ours."""

    def on_closed(self, client: SimulatedClient, code: int, reason: str) -> None:
        """The connection is over."""

    def send(self, client: SimulatedClient, payload: bytes, opcode: Opcode) -> None:
        """Send a small frame."""


class Receiver:
    """Reads, and tells the meter and the owner what it was.

    Args:
        clients: all there will ever be, by number.
        streams: int64 [clients, STREAM_WORDS], their rows.
        roles: how many there are.
    """

    def __init__(
        self,
        meter: Meter,
        owner: Owner,
        clients: Sequence[SimulatedClient],
        streams: npt.NDArray[np.int64],
        roles: int,
    ) -> None:
        self._meter = meter
        self._owner = owner
        self._clients = clients
        self._streams = streams
        self._epoll = select.epoll()
        self._client_of = np.full(1024, NOBODY, np.int32)
        self._buffer = bytearray(BUFFER_BYTES)
        self._bytes = np.frombuffer(self._buffer, np.uint8)
        self._round = Round(MAX_EVENTS, roles)
        self._stage = np.zeros(4, np.int64)
        self._more = False
        self._read_ready(0, 0)  # compiled now (some seconds, once), not when the first frame has come

    def watch(self, client: SimulatedClient) -> None:
        """A connection is open: from now on what it gets is read; of an inattentive client only its end is noticed."""
        assert client.socket is not None
        fd = client.socket.fileno()
        if fd >= len(self._client_of):
            more = np.full(2 * fd - len(self._client_of), NOBODY, np.int32)
            self._client_of = np.concatenate([self._client_of, more])
        self._client_of[fd] = client.number
        self._epoll.register(fd, _READABLE if client.attentive else select.EPOLLRDHUP)

    def forget(self, fd: int) -> None:
        """A descriptor is about to be closed; epoll notices that by itself."""
        if fd < len(self._client_of):
            self._client_of[fd] = NOBODY

    def close(self) -> None:
        """Release the epoll."""
        self._epoll.close()

    def read_round(self) -> bool:
        """Read one frame of each client that has something to read.

        If a client has last received a whole update, another is expected and read by compiled code. Anything else goes
        the long way.

        Returns:
            whether one of them has more to read.
        """
        reading = self._round
        reading.clear()
        self._more = False
        self._stage[:] = self._meter.stage()
        ready = epoll_wait(self._epoll.fileno(), reading.events_address, len(reading.events))
        first = 0
        while first < ready:
            why = self._read_ready(first, ready)
            if why == DONE:
                break
            at, number, count, arrival_ns, read_ns = reading.tally[2:7].tolist()
            first = at + 1
            client = self._clients[number]
            if why == LOOK:
                self._take_read(client, count, count, arrival_ns, read_ns)
                self._look_again(client)
            else:
                self._owner.on_closed(client, 1006, reason_of(-count))
        self._meter.note_round(reading, int(self._stage[3]))
        odd, unread, *_, more = reading.tally.tolist()
        for fd in reading.more[:more].tolist():
            if self._client_of[fd] != NOBODY:
                self._epoll.modify(fd, _READABLE)
        for number, *update in reading.odd[:odd].tolist():
            self._meter.note_update(self._clients[number], *update)
        for number in reading.unread[:unread].tolist():
            client = self._clients[number]
            if client.attentive:
                self.read_part(client, BUFFER_BYTES)
                self._look_again(client)
            else:
                self._owner.on_closed(client, 1006, "cut off while it read slowly")  # nothing else is polled for
        return self._more or more > 0

    def _look_again(self, client: SimulatedClient) -> None:
        """It may have more to read: have the next round look."""
        if client.socket is not None and self._client_of[client.socket.fileno()] == client.number:
            self._epoll.modify(client.socket.fileno(), _READABLE)

    def _read_ready(self, first: int, last: int) -> int:
        reading = self._round
        return int(
            read_ready(
                reading.events,
                first,
                last,
                self._client_of,
                self._streams,
                self._stage,
                self._bytes,
                reading.message,
                reading.latencies_us,
                reading.counts,
                reading.odd,
                reading.unread,
                reading.more,
                reading.tally,
            )
        )

    def read_part(self, client: SimulatedClient, limit: int) -> None:
        """Read at most `limit` bytes, and no more than the present frame has left."""
        reader = client.reader
        assert reader is not None
        assert client.socket is not None
        kept = len(reader.head)
        self._buffer[:kept] = reader.head
        wanted = min(max(reader.expected - kept, 1), BUFFER_BYTES - kept, limit)
        address = self._bytes.ctypes.data + kept
        count, arrival_ns, left = receive(client.socket.fileno(), address, wanted, self._round.message)
        self._more = self._more or left > 0
        if count < 0:
            if count not in (-AGAIN, -INTERRUPTED):
                self._owner.on_closed(client, 1006, reason_of(-count))
            return
        self._take_read(client, count, kept + count, arrival_ns, time.time_ns())

    def _take_read(self, client: SimulatedClient, count: int, end: int, arrival_ns: int, read_ns: int) -> None:
        """What a read has brought: `count` bytes, up to `end` in the buffer."""
        if not count:
            self._owner.on_closed(client, 1006, "connection lost")
            return
        if not arrival_ns:
            arrival_ns = read_ns
            self._meter.note_missing_stamp(client, arrival_ns)
        self._take_in(client, end, arrival_ns, read_ns)

    def take_in(self, client: SimulatedClient, data: bytes) -> None:
        """What has come along with the handshake, without a stamp of its own."""
        self._buffer[: len(data)] = data
        now_ns = time.time_ns()
        self._take_in(client, len(data), now_ns, now_ns)

    def _take_in(self, client: SimulatedClient, end: int, arrival_ns: int, read_ns: int) -> None:
        reader = client.reader
        assert reader is not None
        client.whole_bytes = 0
        try:
            for arrived in reader.feed(self._buffer, end):
                self._note(client, arrived, arrival_ns, read_ns)
                if client.reader is not reader:
                    return  # closed by what has arrived
        except ProtocolError as error:
            self._owner.send(client, close_payload(1002, error.message), Opcode.CLOSE)
            self._owner.on_closed(client, 1002, f"protocol error: {error.reason}")
            return
        if reader.at_start and client.life.proven and LEAST_UPDATE_BYTES <= reader.expected <= BUFFER_BYTES:
            client.whole_bytes = reader.expected

    def _note(self, client: SimulatedClient, arrived: Arrived, arrival_ns: int, read_ns: int) -> None:
        """One message or control frame is complete."""
        if arrived.opcode >= Opcode.CLOSE:
            self._control(client, arrived)
            return
        if not client.life.proven:
            client.life.observe(arrived.type_id)
        self._meter.note(client, arrived, arrival_ns, read_ns)
        if arrived.type_id == MessageType.HEARTBEAT and arrived.payload is not None:
            self._owner.on_heartbeat(client, arrived.payload, arrival_ns // 1000)

    def _control(self, client: SimulatedClient, arrived: Arrived) -> None:
        payload = arrived.payload or b""
        if arrived.opcode == Opcode.PING:
            self._owner.send(client, payload, Opcode.PONG)
        elif arrived.opcode == Opcode.CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self._owner.send(client, payload[:2], Opcode.CLOSE)
            self._owner.on_closed(client, code, f"closed by the server with {code}")
