"""WebSocket frames in a buffer: their headers, and whether what they hold fits them."""

from __future__ import annotations

import re
from typing import Final

from vfctl.errors import ProtocolError
from vfctl.protocol.deployed import FIRST_BYTES, form_of
from vfctl.protocol.websocket import FrameHeader, Opcode, apply_mask, parse_frame_header
from vfctl.protocol.wire import MAX_MESSAGE_BYTES, VERSION, message_length

RSV1: Final = 0x40
"""Set on the first frame of a message with permessage-deflate (RFC 7692)."""

HEADER_BYTES: Final = 14
"""The longest header there is."""

BINARY_START: Final = re.compile(rb"[\x02\x42\x82\xc2](?=[\x01-\x7e\x81-\xfe]|[\x7f\xff]\0{4}[\0-\x10])", re.DOTALL)
"""Where a binary frame may begin, with RSV1 or without, the first of several or the only one."""

_SHORTEST: Final = {126: 126, 127: 2**16}
"""Least payload for which each longer way to write a length may be used (RFC 6455, section 5.2)."""


def read_header(buffer: bytearray, index: int) -> FrameHeader | None:
    """The frame header at `index`; None if it is not all there.

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
    """How many bytes of the frame at `index` are not there; 0 if none begins there, or that cannot be seen."""
    try:
        header = read_header(buffer, index)
    except ProtocolError:
        return 0
    return header.header_length + header.payload_length - (len(buffer) - index) if header else 0


def payload_of(buffer: bytearray, index: int, header: FrameHeader, most: int) -> bytes:
    """Up to `most` bytes of the payload of the frame at `index`, as far as they are there; unmasked."""
    start = index + header.header_length
    with memoryview(buffer) as view, view[start : start + min(most, header.payload_length)] as payload:
        return apply_mask(payload, header.mask) if header.mask and len(payload) else bytes(payload)


def agrees(start: bytes, header: FrameHeader) -> bool:
    """Whether a message that begins like this may have the frame's length (or begin in it, if others follow)."""
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
    """Whether it is exactly a V4 message or a frame of a deployed server."""
    try:
        form_of(payload)
    except ProtocolError:
        return False
    return True


def looks_framed(start: bytes) -> bool:
    """Whether a file that begins like this holds frames: one with a message of VisionFlow's, or several in a row."""
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
        short = len(start) < _SHORT_BYTES  # a pipe has not said more yet
        if header.opcode is Opcode.BINARY and not buffer[at] & RSV1 and len(payload) >= (2 if short else 8):
            return agrees(payload, header)
        if number == 0 and not header.fin and not (payload[:1] == _V4 and agrees(payload, header)):
            return False  # too little to go by
        if number == 1 and not fin and header.opcode in (Opcode.TEXT, Opcode.BINARY):
            return False
        fin = header.fin
        at += header.header_length + header.payload_length
        number += 1
    return (number >= 1 and at == len(buffer)) or number >= _ENOUGH_FRAMES


def holds_frames(start: bytes) -> bool:
    """Whether there is a frame with a V4 message in these bytes, wherever it begins."""
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
