"""TCP reassembly: segments as captured in, the WebSocket messages of their connections out (RFC 9293, section 3.4)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Final, NamedTuple

from vfctl.capture.formats.packets import ACK, FIN, RST, SYN, Segment, endpoint
from vfctl.capture.formats.websocket_messages import Tally, WebSocketConnection
from vfctl.capture.formats.websocket_stream import WebSocketStream
from vfctl.capture.message import CapturedMessage

MAX_WAITING_BYTES: Final = 2**22
MAX_WAITING_SEGMENTS: Final = 2**12
"""Most bytes and segments that wait for a missing segment. Then that one is lost."""

MAX_AGE_SEGMENTS: Final = 64
"""Further segments that may follow before a missing one that was acknowledged is lost: it was sent but not captured."""

HELD_SEGMENTS: Final = 16
"""If a capture begins within a connection, this many segments are sorted before the first one is the start."""

MAX_STEP_BYTES: Final = 2**26
"""A sequence number that is further away belongs to another stream, because TCP windows are smaller."""


class Piece(NamedTuple):
    """Bytes of the stream in order, or a gap.

    Attributes:
        data: the bytes; empty for a gap.
        gap: number of missing bytes.
        offset: file offset of their packet, or of the packet behind a gap.
        time_ns: unix time of the capture in ns.
    """

    data: bytes | memoryview
    gap: int
    offset: int
    time_ns: int | None


class _Waiting(NamedTuple):
    place: int
    number: int
    data: bytes
    missing: int
    offset: int
    time_ns: int | None


class TcpOrder:
    """Sorts segments, drops retransmitted bytes, and reports missing ones.

    Attributes:
        begun: whether the first byte is known.
        from_start: whether that is the first byte of the connection.
        ended: whether all bytes up to FIN have been yielded.
        start: u32 sequence number of the first byte.
    """

    def __init__(self) -> None:
        self.begun = False
        self.from_start = False
        self.ended = False
        self.start = 0
        self._next = 0  # place of the next byte, unwrapped
        self._end: int | None = None  # place of FIN
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._age = 0
        self._held = False
        self._acknowledged = 0
        self._numbers = count()

    @property
    def next_sequence(self) -> int:
        """u32 sequence number of the next byte."""
        return self._next & 0xFFFFFFFF

    def begin(self, sequence: int, *, from_start: bool) -> None:
        """Set the sequence number of the first byte."""
        self.begun, self.from_start, self.start = True, from_start, sequence
        self._next = self._acknowledged = sequence
        self._held = not from_start

    def distance(self, sequence: int) -> int:
        """Distance of a sequence number from the next byte; negative if before it."""
        return ((sequence - self._next + 2**31) & 0xFFFFFFFF) - 2**31

    def take(
        self, sequence: int, data: bytes | memoryview, missing: int, offset: int, time_ns: int | None
    ) -> Iterator[Piece]:
        """Add a segment; return the pieces that are in order now.

        Args:
            missing: number of bytes at its end that were not captured.
        """
        if self._is_before_all(sequence, len(data) + missing):
            self.begin(sequence, from_start=True)
        place = self._next + self.distance(sequence)
        if self._held:
            self._wait(place, data, missing, offset, time_ns)
            if len(self._waiting) >= HELD_SEGMENTS:
                yield from self._release()
        elif not self._waiting and place <= self._next:
            yield from self._hand_over(place, data, missing, offset, time_ns)
        elif place + len(data) + missing > self._next:
            self._wait(place, data, missing, offset, time_ns)
            yield from self._in_order(time_ns)
            if self._waiting:
                self._age += 1
                if self._waiting_bytes > MAX_WAITING_BYTES or len(self._waiting) > MAX_WAITING_SEGMENTS:
                    yield from self._give_up()

    def _is_before_all(self, sequence: int, length: int) -> bool:
        """Whether the first bytes are before the start that SYN gave. Then the number of SYN was wrong.

        One byte before the start is a keep-alive.
        """
        fresh = self.from_start and self._next == self.start and not self._waiting and self._end is None
        return fresh and length > 1 and self.distance(sequence) < 0

    def finish_at(self, sequence: int) -> None:
        """Set the sequence number of FIN."""
        self._end = self._next + self.distance(sequence)
        self.ended = self.ended or self._next >= self._end

    def acknowledged(self, sequence: int) -> Iterator[Piece]:
        """The receiver has everything before this number, so missing bytes before it will not come again."""
        self._acknowledged = max(self._acknowledged, self._next + self.distance(sequence))
        if self._waiting and self._age >= MAX_AGE_SEGMENTS and self._acknowledged >= self._waiting[0].place:
            yield from self._give_up()

    def flush(self, offset: int) -> Iterator[Piece]:
        """The capture of the stream ends at `offset` of the file: yield waiting bytes and gaps.

        Bytes that were acknowledged, or that were before FIN, were sent and are missing.
        """
        if self._held:
            yield from self._release()
        while self._waiting:
            yield from self._give_up()
        sent = self._acknowledged if self._end is None else self._end
        if 0 < sent - self._next <= MAX_STEP_BYTES:
            lost, self._next = sent - self._next, sent
            yield Piece(b"", lost, offset, None)

    def _wait(self, place: int, data: bytes | memoryview, missing: int, offset: int, time_ns: int | None) -> None:
        self._waiting_bytes += len(data)
        heapq.heappush(self._waiting, _Waiting(place, next(self._numbers), bytes(data), missing, offset, time_ns))

    def _release(self) -> Iterator[Piece]:
        """Start with the first of the sorted segments."""
        self._held = False
        if self._waiting:
            self._next = self._waiting[0].place
            self.start = self.next_sequence
            yield from self._in_order(None)

    def _hand_over(
        self, place: int, data: bytes | memoryview, missing: int, offset: int, time_ns: int | None
    ) -> Iterator[Piece]:
        known = self._next - place
        if known < len(data):
            self._next = place + len(data)
            yield Piece(data[known:] if known else data, 0, offset, time_ns)
        until = place + len(data) + missing if missing else self._next
        if self._waiting:
            until = min(until, self._waiting[0].place)  # a waiting copy has the rest
        if until > self._next:
            lost, self._next = until - self._next, until
            yield Piece(b"", lost, offset, time_ns)
        self.ended = self._end is not None and self._next >= self._end

    def _in_order(self, time_ns: int | None) -> Iterator[Piece]:
        """Waiting segments that are next. Each gets the time of what it waited for, if that is later."""
        while self._waiting and self._waiting[0].place <= self._next:
            each = heapq.heappop(self._waiting)
            self._waiting_bytes -= len(each.data)
            self._age = 0
            later = each.time_ns if time_ns is None or each.time_ns is None else max(each.time_ns, time_ns)
            yield from self._hand_over(each.place, each.data, each.missing, each.offset, later)

    def _give_up(self) -> Iterator[Piece]:
        """The bytes before the first waiting segment are lost."""
        first = self._waiting[0]
        gap = first.place - self._next
        self._age = 0
        if gap > 0:
            self._next = first.place
            yield Piece(b"", gap, first.offset, first.time_ns)
        yield from self._in_order(None)


MAX_REMEMBERED: Final = 2**16
"""Most closed connections that are remembered, to recognise segments that are retransmitted after the end."""

MAX_OPEN: Final = 2**16
"""Most connections that are open at once. Beyond this the oldest that are no WebSockets are dropped, because a capture
of many connections does not have the end of each."""

_MAX_EXAMINED: Final = 64
"""Most connections that are examined to find one that can be dropped."""

_Key = tuple[bytes, bytes]


class _Half:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.order = TcpOrder()
        self.stream: WebSocketStream | None = None


class _Connection:
    def __init__(self, label: str, tally: Tally) -> None:
        self.websocket = WebSocketConnection(tally, label)
        self.halves: dict[bytes, _Half] = {}

    def half(self, source: bytes) -> _Half:
        half = self.halves.get(source)
        if half is None:
            half = self.halves[source] = _Half()
        return half


class TcpConnections:
    """Reassembles the connections of a capture from its segments, in file order.

    Attributes:
        seen: number of connections so far.
    """

    def __init__(self, tally: Tally) -> None:
        self.seen = 0
        self._tally = tally
        self._offset = 0  # of the newest packet
        self._open: dict[_Key, _Connection] = {}
        self._over: dict[
            _Key, dict[bytes, int]
        ] = {}  # by who sent it, the number of the byte that would have come next

    @property
    def open_count(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def add(self, segment: Segment, offset: int, time_ns: int | None) -> Iterator[CapturedMessage]:
        """Add one segment, captured at `offset` of the file; return the messages that it completes."""
        self._offset = offset
        source, target = segment.source, segment.target
        key = (source, target) if source < target else (target, source)
        connection = self._open.get(key)
        if connection and segment.flags & SYN and _is_another(connection, segment):
            yield from self._close(key, connection)
            connection = None
        if connection is None:
            if not segment.flags & SYN and (not (segment.payload or segment.missing) or self._is_late(key, segment)):
                return
            yield from self._drop_oldest()
            connection = self._begin(key, segment)
        half = connection.half(source)
        order = half.order
        if segment.flags & SYN and not order.begun:
            order.begin((segment.sequence + 1) & 0xFFFFFFFF, from_start=True)
        sequence = (segment.sequence + 1) & 0xFFFFFFFF if segment.flags & SYN else segment.sequence
        if segment.payload or segment.missing:
            if not order.begun:
                order.begin(sequence, from_start=False)
            if abs(order.distance(sequence)) > MAX_STEP_BYTES:
                yield from self._close(key, connection)
                connection = self._begin(key, segment)
                half = connection.half(source)
                order = half.order
                order.begin(sequence, from_start=False)
            pieces = order.take(sequence, segment.payload, segment.missing, offset, time_ns)
            yield from self._read(connection, half, pieces)
        if segment.flags & ACK:
            other = connection.halves.get(target)
            if other and other.order.begun:
                yield from self._read(connection, other, other.order.acknowledged(segment.acknowledged))
        if segment.flags & FIN:
            if not order.begun:
                order.begin(sequence, from_start=False)
            order.finish_at((sequence + len(segment.payload) + segment.missing) & 0xFFFFFFFF)
        if segment.flags & RST or all(each.order.ended for each in connection.halves.values()):
            yield from self._close(key, connection)

    def finish(self) -> Iterator[CapturedMessage]:
        """The capture ends: the remaining messages of all connections."""
        for connection in list(self._open.values()):
            yield from self._end(connection, closed=False)
        self._open.clear()

    def _begin(self, key: _Key, segment: Segment) -> _Connection:
        self.seen += 1
        self._over.pop(key, None)
        # The client is first. If the opening was not captured, it is likely the one with the higher port.
        first, second = segment.source, segment.target
        if (segment.flags & (SYN | ACK) == SYN | ACK) or (not segment.flags & SYN and first[-2:] < second[-2:]):
            first, second = second, first
        connection = self._open[key] = _Connection(f"{endpoint(first)} > {endpoint(second)}", self._tally)
        return connection

    def _drop_oldest(self) -> Iterator[CapturedMessage]:
        """Drop one connection that is no WebSocket if too many are open."""
        for _ in range(_MAX_EXAMINED if len(self._open) >= MAX_OPEN else 0):
            key = next(iter(self._open))
            connection = self._open.pop(key)
            if not connection.websocket.is_websocket:
                yield from self._end(connection, closed=False)
                return
            self._open[key] = connection

    def _is_late(self, key: _Key, segment: Segment) -> bool:
        """Whether a segment is a retransmission of a closed connection: all of it is before the end."""
        over = self._over.get(key)
        if over is None:
            return False
        end = over.get(segment.source)
        behind = segment.sequence + len(segment.payload) + segment.missing
        return end is None or 0 <= (end - behind) & 0xFFFFFFFF < MAX_STEP_BYTES

    def _read(self, connection: _Connection, half: _Half, pieces: Iterator[Piece]) -> Iterator[CapturedMessage]:
        for piece in pieces:
            stream = half.stream
            if stream is None:
                stream = half.stream = WebSocketStream(connection.websocket, from_start=half.order.from_start)
            if piece.gap:
                stream.gap(piece.gap, piece.offset)
            else:
                yield from stream.feed(piece.data, piece.offset, piece.time_ns)

    def _close(self, key: _Key, connection: _Connection) -> Iterator[CapturedMessage]:
        del self._open[key]
        if len(self._over) >= MAX_REMEMBERED:
            del self._over[next(iter(self._over))]
        yield from self._end(connection, closed=True)
        self._over[key] = {
            source: half.order.next_sequence for source, half in connection.halves.items() if half.order.begun
        }

    def _end(self, connection: _Connection, *, closed: bool) -> Iterator[CapturedMessage]:
        for half in connection.halves.values():
            yield from self._read(connection, half, half.order.flush(self._offset))
            if half.stream:
                yield from half.stream.finish(closed=closed and half.order.ended)
        connection.websocket.ended()


def _is_another(connection: _Connection, segment: Segment) -> bool:
    """Whether a SYN opens a new connection between the same ends, and is no retransmission."""
    half = connection.halves.get(segment.source)
    if half is None or not half.order.begun:
        return False
    return half.order.start != (segment.sequence + 1) & 0xFFFFFFFF or not half.order.from_start
