"""RFC 6455 framing for code without a WebSocket library: fan-out, load generator, packet captures.

Frames from the server are unmasked, so one framed message serves any number of connections.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from vfctl.errors import ProtocolError
from vfctl.protocol.wire import Buffer

MAX_CONTROL_PAYLOAD: Final = 125
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_U16 = struct.Struct(">H")
_U64 = struct.Struct(">Q")


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The start of a frame.

    Attributes:
        fin: last fragment of its message.
        opcode: what the frame is.
        mask: four bytes if masked (client to server), else None.
        header_length: bytes up to the payload.
        payload_length: bytes of payload.
    """

    fin: bool
    opcode: Opcode
    mask: bytes | None
    header_length: int
    payload_length: int


def frame_header(length: int, opcode: Opcode = Opcode.BINARY) -> bytes:
    """The header of a whole, unmasked frame with `length` bytes of payload.

    Raises:
        ValueError: a control frame with more than MAX_CONTROL_PAYLOAD bytes.
    """
    return _header(length, opcode, 0)


def frame(payload: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    """One whole, unmasked frame around `payload`: what a server sends.

    Raises:
        ValueError: a control frame with more than MAX_CONTROL_PAYLOAD bytes.
    """
    return _header(len(payload), opcode, 0) + payload


def frame_masked(payload: bytes, mask: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    """One whole frame as a client sends it.

    Args:
        mask: four bytes; RFC 6455 wants them unpredictable (section 5.3).

    Raises:
        ValueError: as for `frame`, or a mask of another length.
    """
    return _header(len(payload), opcode, 0x80) + mask + apply_mask(payload, mask)


def apply_mask(payload: Buffer, mask: bytes) -> bytes:
    """XOR with the repeated mask; the same call masks and unmasks (RFC 6455, section 5.3)."""
    if len(mask) != 4:
        raise ValueError(f"a mask of {len(mask)} bytes, expected 4")
    length = len(payload)
    key = np.frombuffer(mask * (length // 4 + 1), np.uint8, length)
    return (np.frombuffer(payload, np.uint8) ^ key).tobytes()


def parse_frame_header(buffer: Buffer, start: int = 0, end: int | None = None) -> FrameHeader | None:
    """The frame header at `start`, or None if buffer[start:end] does not hold all of it yet.

    Raises:
        ProtocolError: reserved bits or opcodes, an over-long or fragmented control frame; offsets count from
            `start`.
    """
    available = (len(buffer) if end is None else end) - start
    if available < 2:
        return None
    first, second = buffer[start], buffer[start + 1]
    if first & 0x70:
        raise ProtocolError(
            f"reserved bits 0x{first & 0x70:02x} set, expected none (no extension was negotiated)", offset=0
        )
    try:
        opcode = Opcode(first & 0x0F)
    except ValueError:
        raise ProtocolError(f"unknown opcode 0x{first & 0x0F:x}", offset=0) from None
    fin = bool(first & 0x80)
    length = second & 0x7F
    if opcode >= Opcode.CLOSE and (length > MAX_CONTROL_PAYLOAD or not fin):
        raise ProtocolError(f"fragmented or over-long {opcode.name} frame", offset=0)
    position = 2
    if length >= 126:
        extended = _U16 if length == 126 else _U64
        position += extended.size
        if available < position:
            return None
        (length,) = extended.unpack_from(buffer, start + 2)
        if length >> 63:
            raise ProtocolError(f"payload length {length}, expected the highest bit to be 0", offset=2)
    mask = None
    if second & 0x80:
        position += 4
        if available < position:
            return None
        mask = bytes(buffer[start + position - 4 : start + position])
    return FrameHeader(fin, opcode, mask, position, length)


def close_payload(code: int, reason: str = "") -> bytes:
    """Payload of a close frame: u16 code and a reason, cut to what a control frame holds."""
    return _U16.pack(code) + reason.encode()[: MAX_CONTROL_PAYLOAD - 2].decode(errors="ignore").encode()


def accept_key(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def _header(length: int, opcode: Opcode, mask_bit: int) -> bytes:
    if opcode >= Opcode.CLOSE and length > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a {opcode.name} frame of {length} bytes, at most {MAX_CONTROL_PAYLOAD} fit")
    first = 0x80 | opcode
    if length < 126:
        return bytes((first, mask_bit | length))
    if length < 2**16:
        return bytes((first, mask_bit | 126)) + _U16.pack(length)
    return bytes((first, mask_bit | 127)) + _U64.pack(length)
