"""Reads what has come for simulated clients: one frame a call, into one buffer that they all share."""

from __future__ import annotations

import socket
import struct
import time
from typing import Final, Protocol

from vfctl.errors import ProtocolError
from vfctl.loadtest.dialer import reason_of
from vfctl.loadtest.frames import LEAST_UPDATE_BYTES, Arrived, update_prefix
from vfctl.loadtest.meter import Meter
from vfctl.loadtest.simulated_client import SimulatedClient
from vfctl.protocol import MessageType
from vfctl.protocol.websocket import Opcode, close_payload
from vfctl.protocol.wire import TRAILER, Flag

BUFFER_BYTES: Final = 512 * 1024

_TIMESPEC: Final = struct.Struct("@qq")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)
_TIMED: Final = int(Flag.TIMED)
_TRAILER_BYTES: Final = TRAILER.size
_MAX_SHAPES: Final = 4096

time_ns = time.time_ns
unpack_timespec = _TIMESPEC.unpack
unpack_trailer = TRAILER.unpack_from


class Owner(Protocol):
    """Told of what a client has to answer."""

    def on_heartbeat(self, client: SimulatedClient, payload: bytes, arrival_us: int) -> None:
        """A heartbeat, or the reply to one of ours."""

    def on_closed(self, client: SimulatedClient, code: int, reason: str) -> None:
        """The connection is over."""

    def send(self, client: SimulatedClient, payload: bytes, opcode: Opcode) -> None:
        """Send a small frame."""


class Receiver:
    """Reads, and tells the meter and the owner what it was."""

    def __init__(self, meter: Meter, owner: Owner) -> None:
        self._meter = meter
        self._owner = owner
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._shapes: dict[int, tuple[list[memoryview], bytes]] = {}

    def read(self, client: SimulatedClient) -> None:
        """Read one frame of an open client that has something to read; this is where a load generator spends its time.

        If the client has last received a whole update, another of the same size is asked for, and known by its
        first bytes. Anything else goes the long way.
        """
        size = client.whole_bytes
        if not size:
            self.read_part(client, BUFFER_BYTES)
            return
        views, prefix = self._shapes.get(size) or self._shape(size)
        try:
            count, ancillary, _, _ = client.socket.recvmsg_into(views, _ANCILLARY_BYTES)  # type: ignore[union-attr]
        except OSError as error:
            self._failed(client, error)
            return
        read_ns = time_ns()
        if not ancillary or count != size or not self._buffer.startswith(prefix):
            self._take_read(client, count, count, ancillary, read_ns)
            return
        seconds, nanoseconds = unpack_timespec(ancillary[0][2])
        flags = self._buffer[len(prefix)]
        if flags & _TIMED:
            sequence, stamp_us, interval_us = unpack_trailer(self._buffer, size - _TRAILER_BYTES)
            arrival_ns = seconds * 1_000_000_000 + nanoseconds
            self._meter.note_update(client, flags, size, sequence, stamp_us, interval_us, arrival_ns, read_ns)
        else:
            self._take_read(client, count, count, ancillary, read_ns)

    def read_part(self, client: SimulatedClient, limit: int) -> None:
        """Read at most `limit` bytes, and no more than the present frame has left."""
        reader = client.reader
        assert reader is not None
        assert client.socket is not None
        kept = len(reader.head)
        self._buffer[:kept] = reader.head
        wanted = min(max(reader.expected - kept, 1), BUFFER_BYTES - kept, limit)
        try:
            count, ancillary, _, _ = client.socket.recvmsg_into([self._view[kept : kept + wanted]], _ANCILLARY_BYTES)
        except OSError as error:
            self._failed(client, error)
            return
        self._take_read(client, count, kept + count, ancillary, time_ns())

    def _take_read(
        self, client: SimulatedClient, count: int, end: int, ancillary: list[tuple[int, int, bytes]], read_ns: int
    ) -> None:
        """What a read has brought: `count` bytes, up to `end` in the buffer."""
        if not count:
            self._owner.on_closed(client, 1006, "connection lost")
            return
        if ancillary:
            seconds, nanoseconds = unpack_timespec(ancillary[0][2])
            arrival_ns = seconds * 1_000_000_000 + nanoseconds
        else:
            arrival_ns = read_ns
            self._meter.note_missing_stamp(client, arrival_ns)
        self._take_in(client, end, arrival_ns, read_ns)

    def _failed(self, client: SimulatedClient, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self._owner.on_closed(client, 1006, reason_of(error.errno))

    def _shape(self, size: int) -> tuple[list[memoryview], bytes]:
        """Where a frame of that size is read to, and how it begins if it is an update."""
        if len(self._shapes) >= _MAX_SHAPES:
            self._shapes.clear()
        shape = self._shapes[size] = ([self._view[:size]], update_prefix(size))
        return shape

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
