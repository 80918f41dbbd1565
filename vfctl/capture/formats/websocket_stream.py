"""A byte stream of WebSocket frames, from its start or from any position, complete or with gaps.

A stream is one direction of a TCP connection, or both directions in one file, as `socat` writes them. The mask of a
frame tells its sender (RFC 6455, section 5.1: clients mask, servers do not).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from vfctl.capture.formats.websocket_frames import (
    BINARY_START,
    HEADER_BYTES,
    REQUEST,
    RESPONSE,
    RSV1,
    Head,
    agrees,
    is_ours,
    may_be_head,
    missing_of,
    payload_of,
    read_head,
    read_header,
)
from vfctl.capture.formats.websocket_messages import MessageAssembler, Tally, WebSocketConnection
from vfctl.capture.losses import Report
from vfctl.capture.message import CapturedMessage, Direction
from vfctl.capture.source import ByteSource
from vfctl.errors import CaptureError, ProtocolError
from vfctl.protocol.websocket import FrameHeader, Opcode
from vfctl.protocol.wire import VERSION, message_length

_HANDSHAKE: Final = re.compile(REQUEST.pattern + b"|" + RESPONSE.pattern)
_TLS: Final = re.compile(rb"[\x14-\x17]\x03[\0-\x04]")
_HEAD_STARTS: Final = frozenset(b"GH")  # no frame begins with these: opcodes 7 and 8 with a reserved bit

_V4: Final = bytes((VERSION,))
_MAX_SEARCHED_BYTES: Final = 2**26  # a stream in which no frame is found in so many bytes holds none
_MAX_UNSURE_BYTES: Final = 2**20  # so much of what may not have been frames is gone over again at most
_COMPACT_BYTES: Final = 2**16


class WebSocketStream:
    """Decodes the messages of a stream whose bytes are appended in order.

    Args:
        connection: the connection of the messages. Both directions of a TCP connection share it.
        from_start: whether the stream begins where the connection began.
        renew: creates the next connection, for a file of frames: it may contain several connections, and both
            directions. In such a file, each byte has its own offset; in a packet it has that of the packet.

    Attributes:
        foreign: whether nothing more is read from this stream.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        *,
        from_start: bool,
        renew: Callable[[], WebSocketConnection] | None = None,
    ) -> None:
        self.foreign = False
        self._connection = connection
        self._renew = renew
        self._assemblers: dict[Direction, MessageAssembler] = {}
        self._buffer = bytearray()
        self._start = 0
        self._base = 0  # place of the buffer in the stream
        self._wanted = 0  # how long the buffer has to be before there is more to see
        self._marks: deque[tuple[int, int]] = deque()  # of each piece: place in the stream, place in the file
        self._time_ns: int | None = None
        self._unsure: int | None = None  # place in the stream from which on nothing proves that the frames were some
        self._skip = 0  # bytes of a frame of which parts are missing
        self._at_start = from_start
        self._midway = not from_start
        self._searching = not from_start
        self._searched = 0
        self._loss: tuple[int, int, str] | None = None  # place in the stream and in the file, reason
        self._seen_frames = False

    def feed(self, data: bytes | memoryview, offset: int, time_ns: int | None) -> Iterator[CapturedMessage]:
        """Append bytes, which are at `offset` in the file; return the messages that they complete."""
        if self.foreign:
            return iter(())
        self._marks.append((self._base + len(self._buffer), offset))
        self._buffer += data
        self._time_ns = time_ns
        return self._messages(ended=False) if len(self._buffer) >= self._wanted else iter(())

    def gap(self, length: int, offset: int) -> None:
        """Record that `length` bytes are missing here. The next bytes are at `offset` in the file."""
        if self.foreign:
            return
        waiting = len(self._buffer) - self._start
        frame_left = self._skip
        if not self._skip and not self._searching and waiting:
            frame_left = missing_of(self._buffer, self._start)
        for assembler in self._assemblers.values():
            assembler.interrupted()
        if not self._searching:
            at = self._offset(self._start) if waiting else offset
            self._loss = (self._base + self._start, at, f"{length} bytes of the stream were not captured")
        self._start = len(self._buffer)
        self._compact(everything=True)
        self._base += length
        self._marks.append((self._base, offset))
        if 0 < length <= frame_left:
            # The frame continues behind the gap, so the start of the next one is known.
            self._skip = frame_left - length
            self._close_loss(self._skip)
        else:
            self._searching, self._searched, self._skip, self._at_start = True, 0, 0, False

    def finish(self, *, closed: bool) -> Iterator[CapturedMessage]:
        """End the stream.

        Args:
            closed: whether it must be complete, because its connection was closed and not only the capture ends.
        """
        if self.foreign:
            return
        yield from self._messages(ended=True)
        waiting = len(self._buffer) - self._start
        left = waiting + self._skip + sum(each.waiting_bytes for each in self._assemblers.values())
        if self._searching:
            self._close_loss(waiting)
        elif left and self._seen_frames:
            if closed:
                self._connection.lost(self._offset(self._start), f"{left} bytes of a message without its end", left)
            elif self._connection.ours:
                self._connection.tally.open_ends += 1
        self.foreign = True
        self._buffer.clear()

    # --- reading

    def _messages(self, *, ended: bool) -> Iterator[CapturedMessage]:
        while not self.foreign:
            if self._skip:
                step = min(self._skip, len(self._buffer) - self._start)
                self._skip -= step
                self._start += step
            if self._searching and not self._search(ended):
                break
            available = len(self._buffer) - self._start
            if not available:
                break
            if self._buffer[self._start] in _HEAD_STARTS and self._may_be_head(self._start):
                if not self._read_head(ended):
                    break
                continue
            if self._at_start and self._is_encrypted():
                break
            try:
                header = read_header(self._buffer, self._start)
            except ProtocolError as error:
                self._lost_frame(error.reason)
                continue
            if header is None:
                break
            whole = header.header_length + header.payload_length
            if available < whole:
                if self._may_become(header) and not (ended and self._holds_another()):
                    self._wanted = self._start + whole
                    break
                self._lost_frame(f"a frame of {whole} bytes, which is not there")
                continue
            message = self._read_frame(header)
            if message:
                yield message
        if self._start == len(self._buffer) or self._start > _COMPACT_BYTES:
            self._compact()

    def _may_be_head(self, index: int) -> bool:
        return may_be_head(bytes(self._buffer[index : index + 7]))

    def _read_head(self, ended: bool) -> bool:
        """Read a request or a response; False if its end is not available yet."""
        try:
            head = read_head(self._buffer, self._start, final=ended and self._holds_another())
        except ValueError as error:
            self._lost_frame(str(error))
            return True
        if head is None:
            return False
        if head.upgrades:
            if head.status is None and self._seen_frames and self._renew:
                self._connection.ended()
                self._connection = self._renew()
                self._assemblers.clear()
                self._seen_frames = False
            self._agree(head)
        self._start += head.length
        self._at_start, self._midway, self._unsure = False, False, None
        self._searching = not head.upgrades
        return True

    def _agree(self, head: Head) -> None:
        connection = self._connection
        connection.found_websocket()
        if head.status is None:
            connection.label = f"{connection.label} {head.url}".strip()
            return
        deflate = head.deflate
        connection.deflates = {
            Direction.SERVER: deflate.server_keeps_context if deflate else None,
            Direction.CLIENT: deflate.client_keeps_context if deflate else None,
        }

    def _is_encrypted(self) -> bool:
        """Whether the stream begins like TLS. Then nothing in it can be read."""
        self._at_start = False
        self.foreign = _TLS.match(self._buffer, self._start) is not None
        if self.foreign:
            self._connection.tally.tls += 1
            self._buffer.clear()
            self._start = 0
        return self.foreign

    def _may_become(self, header: FrameHeader) -> bool:
        """Whether an incomplete frame is consistent. If not, the reader does not wait for megabytes in vain."""
        whole_message = header.fin and header.opcode is Opcode.BINARY and not self._buffer[self._start] & RSV1
        if header.payload_length < _MAX_UNSURE_BYTES or not whole_message:
            return True
        return agrees(payload_of(self._buffer, self._start, header, 64), header)

    def _holds_another(self) -> bool:
        """Whether another frame begins in the payload of an incomplete one. Then the length of that one is wrong."""
        matches = BINARY_START.finditer(self._buffer, self._start + 1)
        return any(self._is_certain(match.start(), True) for match in matches)

    def _read_frame(self, header: FrameHeader) -> CapturedMessage | None:
        start = self._start
        deflated = bool(self._buffer[start] & RSV1)
        whole = header.header_length + header.payload_length
        payload = payload_of(self._buffer, start, header, header.payload_length)
        if header.opcode is Opcode.PONG and payload[:1] == _V4 and is_ours(payload):
            self._connection.lost(self._offset(start), "a V4 message in a pong frame", whole)
        sure = header.fin and header.opcode is Opcode.BINARY and not deflated and is_ours(payload)
        after = start + whole
        if not sure and after < len(self._buffer) and not (self._may_begin(after) and self._is_its_end(header, after)):
            self._lost_frame(f"a frame of {whole} bytes, behind which there is none")
            return None
        message = None
        if header.opcode < Opcode.CLOSE:
            direction = Direction.SERVER if header.mask is None else Direction.CLIENT
            assembler = self._assemblers.get(direction)
            if assembler is None:
                assembler = self._assemblers[direction] = MessageAssembler(self._connection, direction)
            message = assembler.take(header, deflated, payload, self._offset(start), self._time_ns)
        place = self._base + start
        if message:
            self._unsure = None
        elif self._unsure is None or place - self._unsure > _MAX_UNSURE_BYTES:
            self._unsure = place
        self._start += whole
        if not self._seen_frames:
            self._seen_frames, self._at_start = True, False
            self._connection.found_websocket()
        return message

    def _may_begin(self, index: int) -> bool:
        """Whether a frame or a handshake may begin at `index`."""
        if self._buffer[index] in _HEAD_STARTS:
            return self._may_be_head(index)
        try:
            read_header(self._buffer, index)
        except ProtocolError:
            return False
        return True

    def _is_its_end(self, header: FrameHeader, after: int) -> bool:
        """Whether the frame here ends at `after`, even if its message has another length.

        It does not if another frame begins where the message would end.
        """
        start = payload_of(self._buffer, self._start, header, 64)
        if not header.fin or header.opcode is not Opcode.BINARY or start[:1] != _V4:
            return True
        try:
            length = message_length(start)
        except ProtocolError:
            return True
        end = self._start + header.header_length + (length or 0)
        return length is None or end in (after, len(self._buffer)) or not self._is_certain(end, False)

    # --- losses and resynchronisation

    def _lost_frame(self, reason: str) -> None:
        """No frame begins here: search for the next one behind the last certain position."""
        for assembler in self._assemblers.values():
            assembler.interrupted()
        if self._unsure is not None:
            self._start, self._unsure = max(0, self._unsure - self._base), None
        self._searching, self._searched = True, 0
        self._loss = (self._base + self._start, self._offset(self._start), reason)
        self._start += 1

    def _search(self, ended: bool) -> bool:
        """Skip to the next frame or handshake; False if there is none in the buffer."""
        buffer = self._buffer
        found, waiting = None, None
        for match in BINARY_START.finditer(buffer, self._start):
            certain = self._is_certain(match.start(), ended)
            if certain:
                found = match.start()
                break
            if certain is None and waiting is None:
                waiting = match.start()
        head = _HANDSHAKE.search(buffer, self._start, len(buffer) if found is None else found)
        if head:
            found = head.start()
        if found is None:
            keep = len(buffer) - HEADER_BYTES if waiting is None else waiting
            self._give_up(max(self._start, keep))
            return False
        self._close_loss(found - self._start)
        self._start = found
        self._searching = False
        if self._midway:
            self._midway = False
            self._connection.tally.midway += self._connection.ours == 0
        return True

    def _give_up(self, index: int) -> None:
        """Skip to `index`, because nothing begins before it."""
        self._searched += index - self._start
        self._start = index
        self._compact()
        self._wanted = len(self._buffer) + min(len(self._buffer) // 2, 2**20)
        if self._searched > _MAX_SEARCHED_BYTES and not self._seen_frames:
            self.foreign = True
            self._buffer.clear()
            self._start = 0

    def _close_loss(self, ahead: int) -> None:
        """Record the current loss, which ends `ahead` bytes from here."""
        if self._loss is not None:
            (place, offset, reason), self._loss = self._loss, None
            self._connection.lost(offset, reason, self._base + self._start + ahead - place)

    def _is_certain(self, index: int, ended: bool) -> bool | None:
        """Whether a binary frame begins at `index`; None if more bytes are needed to know.

        A V4 message with the length of its frame is sufficient evidence. Anything else needs further frames behind it.
        """
        buffer = self._buffer
        unknown = False if ended else None
        try:
            header = read_header(buffer, index)
            if header is None:
                return unknown
            payload = payload_of(buffer, index, header, 64)
            deflated = bool(buffer[index] & RSV1)
            if not deflated:
                if not payload:
                    return unknown
                if not agrees(payload, header):
                    return False
                if header.fin and payload[0] == VERSION and len(payload) >= min(8, header.payload_length):
                    return True
            at = index
            for number in range(6 if deflated else 3):
                following = read_header(buffer, at)
                if following is None:
                    return unknown
                if number and self._renew is None and (following.mask is None) != (header.mask is None):
                    return False
                at += following.header_length + following.payload_length
                if ended and at == len(buffer):
                    return number > 0 or not deflated
        except ProtocolError:
            return False
        return True

    # --- the buffer

    def _offset(self, index: int) -> int:
        """File offset of an index in the buffer."""
        place = self._base + index
        at, offset = place, 0
        for mark in self._marks:
            if mark[0] > place:
                break
            at, offset = mark
        return offset + place - at if self._renew else offset

    def _compact(self, *, everything: bool = False) -> None:
        """Release bytes that have been read, except those that may be searched again."""
        if everything:
            self._unsure = None
        keep = self._start if self._unsure is None else max(0, min(self._start, self._unsure - self._base))
        del self._buffer[:keep]
        self._base += keep
        self._start -= keep
        self._wanted = 0
        while len(self._marks) > 1 and self._marks[1][0] <= self._base:
            self._marks.popleft()


def read_websocket_file(source: ByteSource, report: Report) -> Iterator[CapturedMessage]:
    """The messages of both directions. Each request for a WebSocket begins a connection.

    Raises:
        CaptureError: there are none in it.
        InputError: the operating system cannot read on.
    """
    tally = Tally(report)
    current = [WebSocketConnection(tally)]

    def renew() -> WebSocketConnection:
        current[0] = WebSocketConnection(tally)
        return current[0]

    stream = WebSocketStream(current[0], from_start=True, renew=renew)
    count = 0
    while True:
        offset = source.offset
        piece = source.read_some()
        if not piece:
            break
        for message in stream.feed(piece, offset, None):
            count += 1
            yield message
    for message in stream.finish(closed=True):
        count += 1
        yield message
    current[0].ended()
    tally.summarise()
    if not count and not report.losses:
        raise CaptureError(
            f"{source.name} has no VisionFlow messages in its WebSocket frames", hint="; ".join(report.notes) or None
        )
