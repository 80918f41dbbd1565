"""Parses V4 messages in place from a WebSocket stream: only what a load generator needs of each, without copies.

Of a frame that arrives in pieces, a few numbers are kept and not its bytes: the length of the rest, and the last bytes
seen, because the trailer may be cut in two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from vfctl.errors import ProtocolError
from vfctl.protocol.websocket import Opcode, parse_frame_header
from vfctl.protocol.wire import TRAILER, Flag, MessageType

_TIMED: Final = int(Flag.TIMED)
_TRAILER_BYTES: Final = TRAILER.size
_HEADER_BYTES: Final = 4
MIN_UPDATE_BYTES: Final = 2 + 8 + _TRAILER_BYTES
"""A framed TIMED PositionUpdate without nodes."""

_SMALL_BYTES: Final = 125
"""Payloads up to this size are awaited and passed on whole: control frames, heartbeats."""

_VARYING: Final = Flag.COMPRESSED | Flag.COMPACT
"""Updates with one of these flags differ in size from one to the next."""

_VOICE: Final = int(MessageType.VOICE_DATA)


class ReceivedMessage(NamedTuple):
    """One complete message or control frame.

    Attributes:
        opcode: BINARY or TEXT for messages, else that of the control frame.
        type_id: the V4 type; 0 if it is no V4 message.
        flags: the V4 flags.
        size: bytes on the wire, with framing.
        sequence, timestamp_us, interval_us: of the trailer; the timestamp is 0 if there is none.
        payload: of control frames, small messages, speech in one piece, sampled messages, and all messages of a reader
            with `keeps_all`; else None.
        sampled: the payload was requested with `sample_next`.
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


@dataclass(slots=True, eq=False)
class FrameReader:
    """The state of one connection's stream between two reads.

    The caller puts `head` at the start of its buffer, reads after it, and passes both to `parse`.

    Attributes:
        expected: the size of the next read in bytes: the rest of this frame, or the size of the last frame, with a
            reserve if the next may be larger. A read of exactly one frame gets a kernel timestamp of its own.
        head: the start of a frame that is too short to be parsed yet.
        sample_next: set it to get the next message with its whole payload.
        keeps_all: set it to get every message with its whole payload.
    """

    expected: int
    head: bytes = b""
    sample_next: bool = False
    keeps_all: bool = False
    _remaining: int = 0
    _unfinished: bool = False
    _size: int = 0
    _opcode: int = 0
    _type_id: int = 0
    _flags: int = 0
    _tail: bytes = b""
    _kept: bytearray | None = None
    _sampled: bool = False

    @property
    def at_start(self) -> bool:
        """Whether the next byte begins a message, and that message's payload is not requested."""
        return not (self._remaining or self.head or self._unfinished or self.sample_next or self.keeps_all)

    def parse(self, buffer: bytearray, end: int) -> Iterator[ReceivedMessage]:
        """The messages that buffer[:end] completes.

        Raises:
            ProtocolError: the bytes are no WebSocket stream, or a frame is masked.
        """
        position = 0
        if self._remaining:
            position = min(self._remaining, end)
            self._remaining -= position
            if self._remaining:
                self._keep_tail(buffer, 0, position)
                self.expected = self._remaining
                return
            message = self._complete(buffer, 0, position)
            if message is not None:
                yield message
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
            if not whole and (length <= _SMALL_BYTES or end - start < _HEADER_BYTES):
                break
            if header.opcode >= Opcode.CLOSE:
                position = start + length
                payload = bytes(buffer[start:position])
                yield ReceivedMessage(header.opcode, 0, 0, position - start + header.header_length, payload=payload)
                continue
            self._begin(buffer, start, length, header.opcode, header.fin)
            self._size += header.header_length + length
            if not whole:
                self._remaining = length - (end - start)
                self._keep_tail(buffer, start, end)
                self.expected = self._remaining
                return
            position = start + length
            message = self._complete(buffer, start, position)
            if message is not None:
                yield message
        if position < end:
            self.head = bytes(buffer[position:end])

    def _begin(self, buffer: bytearray, start: int, length: int, opcode: int, fin: bool) -> None:
        """Begin a frame. The first bytes of a message's first frame hold its type and flags."""
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

    def _complete(self, buffer: bytearray, start: int, end: int) -> ReceivedMessage | None:
        """End the frame whose last part is buffer[start:end]; None if its message continues in another frame."""
        if self._unfinished:
            self._keep_tail(buffer, start, end)
            return None
        size = self._size
        self.expected = size + size // 4 if self._flags & _VARYING else size
        small = end - start <= _SMALL_BYTES or (self._type_id == _VOICE and size - (end - start) < 16)
        payload = bytes(buffer[start:end]) if small else None
        if self._kept is not None:
            payload, self._kept = bytes(self._kept) + buffer[start:end], None
        trailer = (0, 0, 0)
        if self._flags & _TIMED:
            if end - start >= _TRAILER_BYTES:
                trailer = TRAILER.unpack_from(buffer, end - _TRAILER_BYTES)
            else:
                joined = (self._tail + buffer[start:end])[-_TRAILER_BYTES:]
                trailer = TRAILER.unpack(joined) if len(joined) == _TRAILER_BYTES else trailer
        return ReceivedMessage(self._opcode, self._type_id, self._flags, size, *trailer, payload, self._sampled)
