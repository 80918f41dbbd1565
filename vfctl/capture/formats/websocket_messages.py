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
"""What a sender takes off the end of each deflated message (RFC 7692, section 7.2.1)."""
_WINDOW_BITS: Final = -15
_MAX_FOREIGN: Final = 16
"""So many messages that are not VisionFlow's are remembered until one is."""


@dataclass(slots=True)
class Tally:
    """What all connections of a recording have in common, and what there is to say of them at its end.

    Attributes:
        report: where losses and notes go.
        numbers: how many connections have been given a number.
        midway: how many had begun before the capture did.
        open_ends: how many are in the midst of a message where the capture ends.
        texts: how many text messages there were.
        others: how many binary messages of connections that had none of VisionFlow's.
        tls: how many connections are encrypted.
        websockets: how many connections had a handshake or frames.
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
        """Put down as notes what was left out."""
        for count, what in (
            (self.midway, "connections began before the capture did: they are read from their first whole message on"),
            (self.open_ends, "messages are not whole where the capture ends"),
            (self.texts, "text messages were left out"),
            (self.others, "binary messages of connections that are not VisionFlow's were left out"),
            (self.tls, "connections are encrypted (TLS) and were left out; capture behind what ends the encryption"),
        ):
            if count:
                self.report.notes.append(f"{count} {what}")


@dataclass(slots=True)
class WebSocketConnection:
    """One connection: both directions share its number and what is known of it.

    It is VisionFlow's once it had a message that is; until then what else it carries is not a loss but somebody else's.

    Attributes:
        tally: shared with all other connections of the recording.
        label: addresses or URL, for people.
        deflates: by direction, whether deflated messages may refer to those before; None: no compression was agreed on,
            missing: not known.
        ours: how many messages are VisionFlow's.
        others: how many binary messages are not.
        is_websocket: whether a handshake or frames were seen.
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
        """Its number, given when its first message comes."""
        if self._number is None:
            self._number = self.tally.numbers
            self.tally.numbers += 1
            if self.label:
                self.tally.report.describe(self._number, self.label)
        return self._number

    def found_websocket(self) -> None:
        """A handshake or a frame came."""
        if not self.is_websocket:
            self.is_websocket = True
            self.tally.websockets += 1

    def found_ours(self) -> None:
        """A message of VisionFlow's came."""
        self.ours += 1
        if self._foreign:
            for loss in self._foreign:
                self.tally.report.losses.note(loss.offset, loss.reason, loss.bytes)
            self._foreign.clear()

    def lost(self, offset: int, reason: str, lost_bytes: int) -> None:
        """Something of it cannot be read: a loss, if it is VisionFlow's."""
        if self.label:
            reason = f"{self.label}: {reason}"
        if self.ours:
            self.tally.report.losses.note(offset, reason, lost_bytes)
        elif len(self._foreign) < _MAX_FOREIGN:
            self._foreign.append(Loss(offset, reason, lost_bytes))

    def ended(self) -> None:
        """Nothing more comes of it."""
        if not self.ours:
            self.tally.others += self.others


class MessageAssembler:
    """Takes the frames of one direction, in order."""

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
        """One data frame, unmasked; the message that it completes, if that is one."""
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
        """Bytes are missing: what waits for them is lost, and so is what deflated messages may refer to."""
        if self._opcode is not None:
            self._lose("a message of which a part is missing")
        if self._inflater is not None or self._connection.deflates.get(self._direction):
            # Where each message stands for itself, the next one can be inflated all the same.
            self._context_lost = self._connection.deflates.get(self._direction) is not False
        self._inflater = None

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of a message wait for its end."""
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
        """The message of a deflated one; None, with the loss noted, if it cannot be."""
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
        if self._inflater.eof:  # a sender may end its deflate stream; the next message begins another
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
