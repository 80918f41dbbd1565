"""All TCP connections of a capture: which segment is whose, and the WebSocket messages in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.formats.packets import ACK, FIN, RST, SYN, Segment, endpoint
from vfctl.capture.formats.tcp_order import MAX_STEP_BYTES, Piece, TcpOrder
from vfctl.capture.formats.websocket_messages import Tally, WebSocketConnection
from vfctl.capture.formats.websocket_stream import WebSocketStream

MAX_REMEMBERED: Final = 2**16
"""So many connections that are over are remembered, by what was sent again after their end."""

MAX_OPEN: Final = 2**16
"""Most connections that are open at once. Beyond this the oldest that are no WebSockets are dropped, because a capture
of many connections does not have the end of each."""

_MAX_EXAMINED: Final = 64
"""Most connections that are examined to find one that can be dropped."""

_Key = tuple[bytes, bytes]


class _Half:
    """What one end sends."""

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
    """Takes the segments of a capture in the order in which they stand in it.

    Attributes:
        seen: how many connections there were.
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
        """One segment, captured at `offset` of the file; the messages that it completes."""
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
        """The capture ends: what waits in all connections."""
        for connection in list(self._open.values()):
            yield from self._end(connection, closed=False)
        self._open.clear()

    def _begin(self, key: _Key, segment: Segment) -> _Connection:
        self.seen += 1
        self._over.pop(key, None)
        # Whoever opens a connection stands first; where that was not captured, the higher port is likely the client's.
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
        """Whether a segment was sent again of a connection that is over: all of it stood before the end."""
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
    """Whether a SYN opens a new connection between the same ends, and is not one that was sent again."""
    half = connection.halves.get(segment.source)
    if half is None or not half.order.begun:
        return False
    return half.order.start != (segment.sequence + 1) & 0xFFFFFFFF or not half.order.from_start
