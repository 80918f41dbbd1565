"""All TCP connections of a capture: which segment is whose, and the WebSocket messages in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.formats.misread_packets import (
    LEAST_HEADER_BYTES,
    MAX_LAYOUTS,
    MAX_PADDED_BYTES,
    Layout,
    ends_at,
    one_bit_away,
    options_hold,
    read_anyway,
    with_all_bytes,
    with_usual_header,
)
from vfctl.capture.formats.packets import ACK, FIN, RST, SYN, Packet, Segment, endpoint, tcp_segment
from vfctl.capture.formats.tcp_order import MAX_STEP_BYTES, Piece, TcpOrder
from vfctl.capture.formats.websocket_messages import Tally, WebSocketConnection
from vfctl.capture.formats.websocket_stream import WebSocketStream

MAX_REMEMBERED: Final = 2**16
"""So many connections that are over are remembered, by what was sent again after their end."""

_LOOKED_AT: Final = 64

MAX_OPEN: Final = 2**16
"""So many connections may be open before those that are no WebSockets are given up: of many, nobody sees the end."""

_WINDOW_BYTES: Final = 2**16
"""What is off by more is looked for elsewhere first, as most windows are no larger."""

_NEAR_BYTES: Final = 2**20
"""What is off by less may be of the same stream, though one bit of its number is wrong."""

_Key = tuple[bytes, bytes]


class _Half:
    """What one end sends.

    Attributes:
        header_bytes: how long the TCP header of its packets with a payload is; 0 before the first.
        trailing: whether something stands behind the IP packet in them, as some network equipment adds it.
    """

    def __init__(self) -> None:
        self.order = TcpOrder()
        self.stream: WebSocketStream | None = None
        self.header_bytes = 0
        self.trailing = False


class _Connection:
    def __init__(self, label: str, tally: Tally) -> None:
        self.websocket = WebSocketConnection(tally, label)
        self.halves: dict[bytes, _Half] = {}

    def half(self, source: bytes) -> _Half:
        half = self.halves.get(source)
        if half is None:
            half = self.halves[source] = _Half()
        return half

    def expects(self, segment: Segment) -> bool:
        """Whether a segment with a payload is the next of its stream and like those before: nearly all are."""
        half = self.halves.get(segment.source)
        return (
            half is not None
            and half.header_bytes == segment.payload_at - segment.tcp_at
            and half.order.begun
            and half.order.expected == segment.sequence
            and not segment.flags & (SYN | RST)
            and (half.trailing or not segment.trailing)
        )

    @property
    def header_bytes(self) -> int:
        """How long the TCP header is in packets of either end that have a payload; 0 before the first."""
        return max((half.header_bytes for half in self.halves.values()), default=0)


class TcpConnections:
    """Takes the packets of a capture in the order in which they stand in it.

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
        self._layouts: dict[Layout, None] = {}

    def take(self, packet: Packet) -> Iterator[CapturedMessage]:
        """The next packet, of a link type that is known; the messages that it completes."""
        segment = None if packet.doubtful else tcp_segment(packet.link_type, packet.data, packet.length)
        connection = self._open.get(_key_of(segment.source, segment.target)) if segment else None
        if segment is None or connection is None:
            misread = self._misread(packet, segment)
            if segment and segment.payload and not misread:
                self._learn(packet, segment)
            segment = misread or segment
        elif segment.payload and not connection.expects(segment):
            segment = self._of_neighbour(connection, packet, segment) or self._whole(connection, packet, segment)
        return self._take(segment, packet) if segment else iter(())

    def _learn(self, packet: Packet, segment: Segment) -> None:
        if len(self._layouts) < MAX_LAYOUTS:
            self._layouts[Layout.of(packet, segment)] = None

    def _misread(self, packet: Packet, segment: Segment | None) -> Segment | None:
        """The segment in a packet that belongs to nobody, if but for one bit it is one of a connection that is open."""
        for layout in self._layouts:
            ends = ends_at(layout, packet)
            connection = self._open.get(_key_of(*ends)) if ends else None
            if ends and connection:
                self._say(connection, packet, "a packet with a wrong bit in its headers or its record")
                return read_anyway(layout, packet, ends, connection.half(ends[0]).header_bytes)
        return self._readdressed(packet, segment) if segment and segment.payload else None

    def _of_neighbour(self, connection: _Connection, packet: Packet, segment: Segment) -> Segment | None:
        """The segment, if it is none of the connection that is open between these ends, but of one a bit away."""
        half = connection.halves.get(segment.source)
        if half and half.order.begun and abs(_distance(segment.sequence, half.order.expected)) < _WINDOW_BYTES:
            return None
        return self._readdressed(packet, segment)

    def _readdressed(self, packet: Packet, segment: Segment) -> Segment | None:
        """The segment with the ends that differ from its own in one bit, where just these bytes are expected."""
        for source, target in one_bit_away(segment.source, segment.target):
            connection = self._open.get(_key_of(source, target))
            half = connection.halves.get(source) if connection else None
            if connection and half and half.order.begun and half.order.expected == segment.sequence:
                self._say(connection, packet, "a packet with a wrong bit in its addresses")
                return segment._replace(source=source, target=target)
        return None

    def _whole(self, connection: _Connection, packet: Packet, segment: Segment) -> Segment:
        """A segment of an open connection, what cannot be in its headers replaced by what others of it have."""
        half = connection.half(segment.source)
        header_bytes = segment.payload_at - segment.tcp_at
        if not half.header_bytes:
            half.trailing = segment.trailing > 0
            self._learn(packet, segment)
        if header_bytes != half.header_bytes:
            usual = half.header_bytes or connection.header_bytes
            if not usual or options_hold(packet.data[segment.tcp_at + LEAST_HEADER_BYTES : segment.payload_at]):
                half.header_bytes = header_bytes
            else:
                self._say(connection, packet, f"a TCP header of {header_bytes} bytes that are none")
                segment = with_usual_header(packet, segment, usual)
        if half.order.begun:
            segment = self._in_place(connection, half, packet, segment)
        # RST with a payload: one of the two is wrong, and the end of a connection shows by itself.
        return segment._replace(flags=segment.flags & ~RST) if segment.flags & RST else segment

    def _in_place(self, connection: _Connection, half: _Half, packet: Packet, segment: Segment) -> Segment:
        """The segment, what cannot be in it replaced, as far as its place in the stream shows it."""
        expected = half.order.expected
        likely = _likely_number(segment.sequence, expected)
        if segment.sequence == expected and segment.flags & SYN:
            self._say(connection, packet, "a SYN with the bytes that come next")
            segment = segment._replace(flags=segment.flags & ~SYN)
        elif segment.sequence != likely:
            self._say(connection, packet, f"bytes with the number {segment.sequence}, of which one bit is wrong")
            segment = segment._replace(sequence=likely)
        if segment.trailing and not half.trailing and len(packet.data) > MAX_PADDED_BYTES:
            end = segment.sequence + len(segment.payload) + segment.missing
            if _distance(end, expected) <= 0:
                # The same packet once more, from where something is put behind each.
                half.trailing = True
            else:
                self._say(connection, packet, f"a packet of which IP leaves out the last {segment.trailing} bytes")
                segment = with_all_bytes(packet, segment)
        return segment

    def _say(self, connection: _Connection, packet: Packet, what: str) -> None:
        connection.websocket.lost(packet.offset, f"{what}, read as what others of its connection are", 0)

    def _take(self, segment: Segment, packet: Packet) -> Iterator[CapturedMessage]:
        self._offset = packet.offset
        source, target = segment.source, segment.target
        key = _key_of(source, target)
        connection = self._open.get(key)
        if connection and segment.flags & SYN and _is_another(connection, segment):
            yield from self._close(key, connection)
            connection = None
        if connection is None:
            if not segment.flags & SYN and (not (segment.payload or segment.missing) or self._is_late(key, segment)):
                return
            yield from self._make_room()
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
            pieces = order.take(sequence, segment.payload, segment.missing, packet.offset, packet.time_ns)
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
        if segment.payload:
            half = connection.half(segment.source)
            half.header_bytes, half.trailing = segment.payload_at - segment.tcp_at, segment.trailing > 0
        return connection

    def _make_room(self) -> Iterator[CapturedMessage]:
        """Where very many are open, give up the oldest of a few that is no WebSocket."""
        for _ in range(_LOOKED_AT if len(self._open) >= MAX_OPEN else 0):
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
            elif not piece.data:
                connection.websocket.lost(piece.offset, "bytes with a number at which others were sent", 0)
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
                whole = (closed and half.order.ended) or half.order.doubtful is not None
                yield from half.stream.finish(closed=whole)
        connection.websocket.ended()


def _key_of(source: bytes, target: bytes) -> _Key:
    return (source, target) if source < target else (target, source)


def _distance(sequence: int, expected: int) -> int:
    return ((sequence - expected + 2**31) & 0xFFFFFFFF) - 2**31


def _likely_number(sequence: int, expected: int) -> int:
    """The number of a segment; if it is too far off for the same stream, one that is not and differs in one bit.

    That may also be of one that was captured twice, or of which the one before was not captured.
    """
    if abs(_distance(sequence, expected)) < MAX_STEP_BYTES:
        return sequence
    flipped = (sequence ^ 1 << bit for bit in range(MAX_STEP_BYTES.bit_length() - 1, 32))
    return next((each for each in flipped if abs(_distance(each, expected)) < _NEAR_BYTES), sequence)


def _is_another(connection: _Connection, segment: Segment) -> bool:
    """Whether a SYN opens a new connection between the same ends, and is not one that was sent again."""
    half = connection.halves.get(segment.source)
    if half is None or not half.order.begun:
        return False
    return half.order.start != (segment.sequence + 1) & 0xFFFFFFFF or not half.order.from_start
