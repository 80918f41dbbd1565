"""Reads V4 messages off a WebSocket stream in place: what a load generator needs to know of each, and no copies.

A frame that arrives in pieces leaves a few numbers behind, not its bytes: how much of it is still to come, and the
last bytes seen, in case the trailer is cut in two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from vfctl.errors import ProtocolError
from vfctl.protocol.websocket import Opcode, parse_frame_header
from vfctl.protocol.wire import TRAILER, Flag, MessageType

_TIMED: Final = int(Flag.TIMED)
_TRAILER_BYTES: Final = TRAILER.size
_HEADER_BYTES: Final = 4
LEAST_UPDATE_BYTES: Final = 2 + 8 + _TRAILER_BYTES
"""A whole TIMED PositionUpdate of no nodes, framed."""

_WHOLE_BYTES: Final = 125
"""Payloads up to this size are waited for and handed over whole: control frames, heartbeats."""

_VARYING: Final = Flag.COMPRESSED | Flag.COMPACT
"""Updates of which each is a little larger or smaller than the last."""

_VOICE: Final = int(MessageType.VOICE_DATA)


class Arrived(NamedTuple):
    """One message, or one control frame, that is complete.

    Attributes:
        opcode: BINARY or TEXT for messages, else the control frame's.
        type_id: the V4 type; 0 if it is no V4 message.
        flags: the V4 flags.
        size: bytes on the wire, framing included.
        sequence, timestamp_us, interval_us: of the trailer; timestamp 0 if there is none.
        payload: of small messages, control frames, speech that came in one piece, sampled messages, and all messages of
            a reader that keeps all; else None.
        sampled: just this message was asked for.
    """

    opcode: int
    type_id: int
    flags: int
    size: int
    sequence: int = 0
    timestamp_us: int = 0
    interval_us: int = 0
    payload: bytes | None = None
    sampled: bool = False


class FrameReader:
    """The state of one connection's stream between two reads.

    The caller puts `head` at the start of its buffer, reads behind it, and passes both to `feed`.

    Attributes:
        head: the start of a frame that is too short to be understood yet.
        expected: how many bytes to ask for: the rest of this frame, or as many as the last one had, and some more if
            the next may be larger. Reading just one frame keeps its kernel stamp its own.
        sample_next: set it to get the next message with its whole payload.
        keeps_all: set it to get every message with its whole payload.
        at_start: nothing of a message has been seen: the next byte begins one, in one frame or several. Nor is that
            one's payload asked for.
    """

    __slots__ = (
        "_flags",
        "_kept",
        "_opcode",
        "_remaining",
        "_sampled",
        "_size",
        "_tail",
        "_type_id",
        "_unfinished",
        "expected",
        "head",
        "keeps_all",
        "sample_next",
    )

    def __init__(self, expected: int) -> None:
        self.head = b""
        self.expected = expected
        self._remaining = 0
        self._unfinished = False
        self._size = 0
        self._opcode = 0
        self._type_id = 0
        self._flags = 0
        self._tail = b""
        self._kept: bytearray | None = None
        self._sampled = False
        self.sample_next = False
        self.keeps_all = False

    @property
    def at_start(self) -> bool:
        return not (self._remaining or self.head or self._unfinished or self.sample_next or self.keeps_all)

    def feed(self, buffer: bytearray, end: int) -> Iterator[Arrived]:
        """What buffer[:end] completes.

        Raises:
            ProtocolError: not a WebSocket stream, or one with masked frames.
        """
        position = 0
        if self._remaining:
            take = min(self._remaining, end)
            self._remaining -= take
            position = take
            if self._remaining:
                self._keep_tail(buffer, 0, take)
                self.expected = self._remaining
                return
            arrived = self._complete(buffer, 0, take)
            if arrived is not None:
                yield arrived
        self.head = b""
        while position < end:
            header = parse_frame_header(buffer, position, end)
            if header is None:
                break
            if header.mask is not None:
                raise ProtocolError("a masked frame, servers do not mask (RFC 6455, section 5.1)", offset=1)
            start = position + header.header_length
            length = header.payload_length
            whole = end - start >= length
            if not whole and (length <= _WHOLE_BYTES or end - start < _HEADER_BYTES):
                break
            if header.opcode >= Opcode.CLOSE:
                position = start + length
                payload = bytes(buffer[start:position])
                yield Arrived(header.opcode, 0, 0, position - start + header.header_length, payload=payload)
                continue
            self._begin(buffer, start, length, header.opcode, header.fin)
            self._size += header.header_length + length
            if not whole:
                self._remaining = length - (end - start)
                self._keep_tail(buffer, start, end)
                self.expected = self._remaining
                return
            position = start + length
            arrived = self._complete(buffer, start, position)
            if arrived is not None:
                yield arrived
        if position < end:
            self.head = bytes(buffer[position:end])

    def _begin(self, buffer: bytearray, start: int, length: int, opcode: int, fin: bool) -> None:
        """The first bytes of a frame; those of a message's first frame tell what the message is."""
        if opcode != Opcode.CONTINUATION:
            self._opcode = opcode
            self._size = 0
            self._tail = b""
            is_v4 = opcode == Opcode.BINARY and length >= _HEADER_BYTES and buffer[start] == 4
            self._type_id = buffer[start + 1] if is_v4 else 0
            self._flags = buffer[start + 2] if is_v4 else 0
            self._sampled, self.sample_next = self.sample_next, False
            if self._sampled or self.keeps_all:
                self._kept = bytearray()
        self._unfinished = not fin

    def _keep_tail(self, buffer: bytearray, start: int, end: int) -> None:
        if self._kept is not None:
            self._kept += buffer[start:end]
        if self._flags & _TIMED:
            self._tail = (self._tail + buffer[max(start, end - _TRAILER_BYTES) : end])[-_TRAILER_BYTES:]

    def _complete(self, buffer: bytearray, start: int, end: int) -> Arrived | None:
        """The frame whose last part is buffer[start:end] has ended; None if its message goes on in another."""
        if self._unfinished:
            self._keep_tail(buffer, start, end)
            return None
        size = self._size
        self.expected = size + size // 4 if self._flags & _VARYING else size
        small = end - start <= _WHOLE_BYTES or (self._type_id == _VOICE and size - (end - start) < 16)
        payload = bytes(buffer[start:end]) if small else None
        if self._kept is not None:
            payload, self._kept = bytes(self._kept) + buffer[start:end], None
        if not self._flags & _TIMED:
            return Arrived(self._opcode, self._type_id, self._flags, size, payload=payload, sampled=self._sampled)
        if end - start >= _TRAILER_BYTES:
            trailer = TRAILER.unpack_from(buffer, end - _TRAILER_BYTES)
        else:
            joined = (self._tail + buffer[start:end])[-_TRAILER_BYTES:]
            trailer = TRAILER.unpack(joined) if len(joined) == _TRAILER_BYTES else (0, 0, 0)
        sequence, timestamp_us, interval_us = trailer
        return Arrived(
            self._opcode, self._type_id, self._flags, size, sequence, timestamp_us, interval_us, payload, self._sampled
        )
