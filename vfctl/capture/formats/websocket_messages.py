"""WebSocket frames of one direction put together to messages: fragments, permessage-deflate, and what each is."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from vfctl.capture.losses import Loss, Report
from vfctl.capture.message import CapturedMessage, Direction
from vfctl.errors import ProtocolError
from vfctl.protocol.deployed import form_of
from vfctl.protocol.websocket import FrameHeader, Opcode
from vfctl.protocol.wire import MAX_MESSAGE_BYTES

_TAIL: Final = b"\0\0\xff\xff"
"""Bytes that a sender removes from the end of each deflated message (RFC 7692, section 7.2.1)."""
_WINDOW_BITS: Final = -15
_MAX_FOREIGN: Final = 16
"""Losses of a connection that are kept until it has its first VisionFlow message."""


@dataclass(slots=True)
class Tally:
    """Counts over all connections of a recording.

    Attributes:
        report: receives losses and notes.
        numbers: connections that have a number.
        midway: connections that began before the capture.
        open_ends: messages that are incomplete at the end of the capture.
        texts: text messages.
        others: binary messages of connections without VisionFlow messages.
        tls: encrypted connections.
        websockets: connections with a handshake or frames.
    """

    report: Report
    numbers: int = 0
    midway: int = 0
    open_ends: int = 0
    texts: int = 0
    others: int = 0
    tls: int = 0
    websockets: int = 0

    def summarise(self) -> None:
        """Add notes about what was left out."""
        for count, what in (
            (self.midway, "connections began before the capture: they are read from their first complete message on"),
            (self.open_ends, "messages are incomplete at the end of the capture"),
            (self.texts, "text messages were left out"),
            (self.others, "binary messages of connections that are not VisionFlow's were left out"),
            (self.tls, "connections are encrypted (TLS) and were left out; capture behind what ends the encryption"),
        ):
            if count:
                self.report.notes.append(f"{count} {what}")


@dataclass(slots=True)
class WebSocketConnection:
    """One connection. Both directions share it.

    Its losses count once it has had a VisionFlow message. Until then it may belong to another program.

    Attributes:
        tally: shared by all connections of the recording.
        label: addresses or URL, for messages.
        deflates: by direction, whether deflated messages may refer to earlier ones. None: no compression was
            negotiated. Missing: unknown.
        ours: number of VisionFlow messages.
        others: number of other binary messages.
        is_websocket: whether it had a handshake or frames.
    """

    tally: Tally
    label: str = ""
    deflates: dict[Direction, bool | None] = field(default_factory=dict)
    ours: int = 0
    others: int = 0
    is_websocket: bool = False
    _number: int | None = None
    _foreign: list[Loss] = field(default_factory=list)

    @property
    def number(self) -> int:
        """Its number, which it gets with its first message."""
        if self._number is None:
            self._number = self.tally.numbers
            self.tally.numbers += 1
            if self.label:
                self.tally.report.describe(self._number, self.label)
        return self._number

    def found_websocket(self) -> None:
        """Record that it had a handshake or a frame."""
        if not self.is_websocket:
            self.is_websocket = True
            self.tally.websockets += 1

    def found_ours(self) -> None:
        """Record that it had a VisionFlow message."""
        self.ours += 1
        if self._foreign:
            for loss in self._foreign:
                self.tally.report.losses.note(loss.offset, loss.reason, loss.bytes)
            self._foreign.clear()

    def lost(self, offset: int, reason: str, lost_bytes: int) -> None:
        """Record a loss, if the connection has VisionFlow messages."""
        if self.label:
            reason = f"{self.label}: {reason}"
        if self.ours:
            self.tally.report.losses.note(offset, reason, lost_bytes)
        elif len(self._foreign) < _MAX_FOREIGN:
            self._foreign.append(Loss(offset, reason, lost_bytes))

    def ended(self) -> None:
        """End the connection."""
        if not self.ours:
            self.tally.others += self.others


class MessageAssembler:
    """Assembles the messages of one direction from its frames."""

    def __init__(self, connection: WebSocketConnection, direction: Direction) -> None:
        self._connection = connection
        self._direction = direction
        self._opcode: Opcode | None = None
        self._deflated = False
        self._parts: list[bytes] = []
        self._length = 0
        self._offset = 0
        self._inflater: Any = None
        self._context_lost = False

    def take(
        self, header: FrameHeader, deflated: bool, payload: bytes, offset: int, time_ns: int | None
    ) -> CapturedMessage | None:
        """Add one unmasked data frame; return the message that it completes, if it is a VisionFlow message."""
        if header.opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                self._connection.lost(offset, "a continuation of a message that did not begin here", len(payload))
                return None
        else:
            if self._opcode is not None:
                self._lose("a message without its end")
            self._opcode, self._deflated, self._offset = header.opcode, deflated, offset
        self._length += len(payload)
        if self._length > MAX_MESSAGE_BYTES:
            self._lose(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
            return None
        self._parts.append(payload)
        if not header.fin:
            return None
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        opcode, deflated, start = self._opcode, self._deflated, self._offset
        self._forget()
        return self._message(whole, opcode, deflated, start, time_ns)

    def interrupted(self) -> None:
        """Bytes are missing: the current message is lost, and so is the context of deflated messages."""
        if self._opcode is not None:
            self._lose("a message of which a part is missing")
        if self._inflater is not None or self._connection.deflates.get(self._direction):
            # Without context takeover, the next message can be inflated all the same.
            self._context_lost = self._connection.deflates.get(self._direction) is not False
        self._inflater = None

    @property
    def waiting_bytes(self) -> int:
        """Number of bytes of the current, incomplete message."""
        return self._length

    def _message(
        self, payload: bytes, opcode: Opcode, deflated: bool, offset: int, time_ns: int | None
    ) -> CapturedMessage | None:
        connection = self._connection
        if deflated:
            inflated = self._inflate(payload, offset)
            if inflated is None:
                return None
            payload = inflated
        if opcode is not Opcode.BINARY:
            connection.tally.texts += 1
            return None
        try:
            form = form_of(payload)
        except ProtocolError as error:
            connection.others += 1
            connection.lost(offset, f"a binary message that is not VisionFlow's: {error.reason}", len(payload))
            return None
        connection.found_ours()
        return CapturedMessage(payload, time_ns, offset, self._direction, connection.number, form)

    def _inflate(self, payload: bytes, offset: int) -> bytes | None:
        """The inflated message; None if that failed, with the loss recorded."""
        if self._inflater is None:
            self._inflater = zlib.decompressobj(_WINDOW_BITS)
        try:
            inflated = bytes(self._inflater.decompress(payload + _TAIL, MAX_MESSAGE_BYTES))
            if self._inflater.unconsumed_tail:
                raise zlib.error(f"more than {MAX_MESSAGE_BYTES} bytes")
        except zlib.error as error:
            self._inflater = None
            why = f"a message with permessage-deflate that cannot be inflated ({error})"
            if self._context_lost:
                why += "; it may refer to earlier ones that are missing"
            elif self._direction not in self._connection.deflates:
                why += "; the handshake is not in the capture, and it may refer to messages before it"
            self._context_lost = True
            self._connection.lost(offset, why, len(payload))
            return None
        if self._inflater.eof:  # a sender may end its deflate stream. Then the next message begins another one
            self._inflater = None
        return inflated

    def _lose(self, reason: str) -> None:
        self._connection.lost(self._offset, reason, self._length)
        if self._deflated and self._connection.deflates.get(self._direction):
            self._context_lost, self._inflater = True, None
        self._forget()

    def _forget(self) -> None:
        self._opcode, self._deflated, self._length = None, False, 0
        self._parts = []
