"""Reads what has come for simulated clients: one frame a call, into one buffer that they all share."""

from __future__ import annotations

import socket
import struct
import time
from typing import Final, Protocol

from vfctl.errors import ProtocolError
from vfctl.loadtest.dialer import reason_of
from vfctl.loadtest.frames import Arrived, whole_update
from vfctl.loadtest.meter import Meter
from vfctl.loadtest.simulated_client import SimulatedClient
from vfctl.protocol import MessageType
from vfctl.protocol.websocket import Opcode, close_payload
from vfctl.protocol.wire import TRAILER

BUFFER_BYTES: Final = 512 * 1024

_TIMESPEC: Final = struct.Struct("@qq")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)


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

    def read(self, client: SimulatedClient, limit: int = BUFFER_BYTES) -> None:
        """Read at most `limit` bytes of an open client that has something to read."""
        reader, sock = client.reader, client.socket
        assert reader is not None
        assert sock is not None
        kept = len(reader.head)
        if kept:
            self._buffer[:kept] = reader.head
        wanted = min(max(reader.expected - kept, 1), BUFFER_BYTES - kept, limit)
        try:
            count, ancillary, _, _ = sock.recvmsg_into([self._view[kept : kept + wanted]], _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._owner.on_closed(client, 1006, reason_of(error.errno))
            return
        if not count:
            self._owner.on_closed(client, 1006, "connection lost")
            return
        read_ns = time.time_ns()
        if ancillary:
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            arrival_ns = seconds * 1_000_000_000 + nanoseconds
        else:
            arrival_ns = read_ns
            self._meter.note_missing_stamp(client, arrival_ns)
        start = whole_update(self._buffer, count) if client.life.proven and reader.at_start else 0
        if start:
            sequence, stamp_us, interval_us = TRAILER.unpack_from(self._buffer, count - TRAILER.size)
            flags = self._buffer[start + 2]
            self._meter.note_update(client, flags, count, sequence, stamp_us, interval_us, arrival_ns, read_ns)
            reader.expected = count
        else:
            self._take_in(client, kept + count, arrival_ns, read_ns)

    def take_in(self, client: SimulatedClient, data: bytes) -> None:
        """What has come along with the handshake, without a stamp of its own."""
        self._buffer[: len(data)] = data
        now_ns = time.time_ns()
        self._take_in(client, len(data), now_ns, now_ns)

    def _take_in(self, client: SimulatedClient, end: int, arrival_ns: int, read_ns: int) -> None:
        reader = client.reader
        assert reader is not None
        try:
            for arrived in reader.feed(self._buffer, end):
                self._note(client, arrived, arrival_ns, read_ns)
                if client.reader is not reader:
                    return  # closed by what has arrived
        except ProtocolError as error:
            self._owner.send(client, close_payload(1002, error.message), Opcode.CLOSE)
            self._owner.on_closed(client, 1002, f"protocol error: {error.reason}")

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
