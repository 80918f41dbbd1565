"""WebSocket on the wire: the HTTP handshake, frame headers, and whether a frame fits the message in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vfctl.errors import ProtocolError
from vfctl.protocol.deployed import FIRST_BYTES, form_of
from vfctl.protocol.websocket import FrameHeader, Opcode, apply_mask, parse_frame_header
from vfctl.protocol.wire import MAX_MESSAGE_BYTES, VERSION, message_length

MAX_HEAD_BYTES: Final = 2**16

REQUEST: Final = re.compile(rb"GET (\S{1,8000}) HTTP/1\.[01]\r\n")
RESPONSE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


@dataclass(frozen=True, slots=True)
class Deflate:
    """permessage-deflate as negotiated (RFC 7692).

    Attributes:
        server_keeps_context: whether messages of the server may refer to earlier ones.
        client_keeps_context: the same for messages of the client.
    """

    server_keeps_context: bool
    client_keeps_context: bool


@dataclass(frozen=True, slots=True)
class Head:
    """A request or a response, without its body.

    Attributes:
        length: in bytes, including the empty line.
        status: of a response; None for a request.
        url: host and path of a request.
        upgrades: whether it requests or accepts a WebSocket.
        deflate: the negotiated compression; None for a request, and without compression.
    """

    length: int
    status: int | None
    url: str
    upgrades: bool
    deflate: Deflate | None


def may_be_head(start: bytes) -> bool:
    """Whether these bytes may be the start of a request or a response."""
    return any(start.startswith(word[: len(start)]) for word in (b"GET ", b"HTTP/1."))


def read_head(buffer: bytes | bytearray, start: int, *, final: bool = False) -> Head | None:
    """The head at `start`; None if its end is not available.

    Args:
        final: whether no further bytes will come.

    Raises:
        ValueError: it is no head of a request or a response.
    """
    end = buffer.find(b"\r\n\r\n", start, start + MAX_HEAD_BYTES)
    if end < 0:
        if final or len(buffer) - start >= MAX_HEAD_BYTES:
            raise ValueError("no end of the HTTP header")
        return None
    request, response = REQUEST.match(buffer, start), RESPONSE.match(buffer, start)
    first = request or response
    if first is None:
        raise ValueError("neither a request nor a response")
    lines = bytes(buffer[start:end]).decode("latin-1").split("\r\n")[1:]
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
    upgrades = "websocket" in fields.get("upgrade", "").lower()
    length = end + 4 - start
    if request:
        path = request[1].decode("latin-1")
        return Head(length, None, _printable(f"{fields.get('host', '')}{path}"), upgrades, None)
    status = int(first[1])
    granted = upgrades and status == 101
    return Head(length, status, "", granted, _deflate(fields.get("sec-websocket-extensions", "")) if granted else None)


def _deflate(extensions: str) -> Deflate | None:
    for extension in extensions.split(","):
        name, *parameters = (part.strip().lower() for part in extension.split(";"))
        if name == "permessage-deflate":
            return Deflate(
                "server_no_context_takeover" not in parameters, "client_no_context_takeover" not in parameters
            )
    return None


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text[:500])


RSV1: Final = 0x40
"""Set on the first frame of a message with permessage-deflate (RFC 7692)."""

HEADER_BYTES: Final = 14
"""Longest frame header."""

BINARY_START: Final = re.compile(rb"[\x02\x42\x82\xc2](?=[\x01-\x7e\x81-\xfe]|[\x7f\xff]\0{4}[\0-\x10])", re.DOTALL)
"""Where a binary frame may begin, with or without RSV1, fragmented or not."""

_SHORTEST: Final = {126: 126, 127: 2**16}
"""Shortest payload for each of the longer length fields (RFC 6455, section 5.2)."""


def read_header(buffer: bytearray, index: int) -> FrameHeader | None:
    """The frame header at `index`; None if it is incomplete.

    Raises:
        ProtocolError: there is none.
    """
    start = bytes(buffer[index : index + HEADER_BYTES])
    if not start:
        return None
    if start[0] & RSV1:
        if start[0] & 0x0F not in (Opcode.TEXT, Opcode.BINARY):
            raise ProtocolError("a reserved bit on a frame that does not begin a message", offset=0)
        start = bytes((start[0] & ~RSV1,)) + start[1:]
    header = parse_frame_header(start)
    if header is None:
        return None
    if header.payload_length > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a frame of {header.payload_length} bytes, expected at most {MAX_MESSAGE_BYTES}", offset=2)
    if header.payload_length < _SHORTEST.get(start[1] & 0x7F, 0):
        raise ProtocolError(f"the length {header.payload_length} in more bytes than it needs", offset=1)
    return header


def missing_of(buffer: bytearray, index: int) -> int:
    """Number of missing bytes of the frame at `index`; 0 if none begins there, or if that is unknown."""
    try:
        header = read_header(buffer, index)
    except ProtocolError:
        return 0
    return header.header_length + header.payload_length - (len(buffer) - index) if header else 0


def payload_of(buffer: bytearray, index: int, header: FrameHeader, most: int) -> bytes:
    """Up to `most` available bytes of the payload of the frame at `index`, unmasked."""
    start = index + header.header_length
    with memoryview(buffer) as view, view[start : start + min(most, header.payload_length)] as payload:
        return apply_mask(payload, header.mask) if header.mask and len(payload) else bytes(payload)


def agrees(start: bytes, header: FrameHeader) -> bool:
    """Whether a message that begins with these bytes fits the length of its frame, or is longer if fragmented."""
    if start[0] == VERSION:
        try:
            length = message_length(start)
        except ProtocolError:
            return False
        return length is None or (length == header.payload_length if header.fin else length > header.payload_length)
    if start[0] not in FIRST_BYTES:
        return False
    return not header.fin or is_ours(start[:1] + bytes(header.payload_length - 1))


def is_ours(payload: bytes) -> bool:
    """Whether it is exactly one V4 message or one frame of a deployed server."""
    try:
        form_of(payload)
    except ProtocolError:
        return False
    return True


def looks_framed(start: bytes) -> bool:
    """Whether a file that begins with these bytes has frames: one with a VisionFlow message, or several in a row."""
    buffer = bytearray(start)
    at, number, fin = 0, 0, True
    while at < len(buffer) and number < _ENOUGH_FRAMES:
        try:
            header = read_header(buffer, at)
        except ProtocolError:
            return False
        if header is None:
            break
        if header.opcode is Opcode.CONTINUATION and number == 0:
            return False
        payload = payload_of(buffer, at, header, 64)
        short = len(start) < _SHORT_BYTES  # a pipe may have sent no more yet
        if header.opcode is Opcode.BINARY and not buffer[at] & RSV1 and len(payload) >= (2 if short else 8):
            return agrees(payload, header)
        if number == 0 and not header.fin and not (payload[:1] == _V4 and agrees(payload, header)):
            return False  # too little evidence
        if number == 1 and not fin and header.opcode in (Opcode.TEXT, Opcode.BINARY):
            return False
        fin = header.fin
        at += header.header_length + header.payload_length
        number += 1
    return (number >= 1 and at == len(buffer)) or number >= _ENOUGH_FRAMES


def holds_frames(start: bytes) -> bool:
    """Whether these bytes contain a frame with a V4 message, at any position."""
    buffer = bytearray(start)
    for match in BINARY_START.finditer(buffer):
        try:
            header = read_header(buffer, match.start())
        except ProtocolError:
            continue
        if header and header.fin and not buffer[match.start()] & RSV1:
            payload = payload_of(buffer, match.start(), header, 64)
            if len(payload) >= min(8, header.payload_length) and payload[:1] == _V4 and agrees(payload, header):
                return True
    return False


_V4: Final = bytes((VERSION,))
_ENOUGH_FRAMES: Final = 4
_SHORT_BYTES: Final = 64
