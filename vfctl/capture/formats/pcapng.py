"""pcapng: blocks, of several interfaces and sections (https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/).

Framed here, not by a library, so that reading goes on behind damage; `docs/decisions/0013-opening-captures.md` has what
was compared.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.formats.packet_capture import MAX_PACKET_BYTES, RecordFile, messages_of
from vfctl.capture.formats.packets import Packet, PacketError, tcp_segment
from vfctl.capture.report import Report
from vfctl.capture.source import ByteSource

MAGIC: Final = b"\x0a\x0d\x0d\x0a"

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
_BYTE_ORDERS: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_RESOLUTION: Final = 9
_TIME_OFFSET: Final = 14
_MAX_BLOCK_BYTES: Final = 2 * MAX_PACKET_BYTES
_STARTS: Final = {
    order: re.compile(
        b"(?="
        + b"|".join(
            re.escape(struct.pack(order + "I", kind))
            for kind in (_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET)
        )
        + b")"
    )
    for order in "<>"
}
"""Where a block that is read may begin."""

_LIKELY_LINKS: Final = (1, 276, 113, 101, 0)
"""What is tried for an interface whose description is lost: Ethernet, Linux cooked (two forms), raw IP, loopback."""
_MOST_UNDESCRIBED: Final = 256


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    longest: int  # what was captured of a packet at most; 0: all
    divisor: int = 10**6  # units of its time in a second
    offset_s: int = 0


def read_pcapng(source: ByteSource, report: Report) -> Iterator[CapturedMessage]:
    """The messages in the WebSocket connections of a capture.

    Raises:
        CaptureError: there are none.
        InputError: the operating system cannot read on.
    """
    yield from messages_of(_Blocks(source, report).packets(), source.name, report)


class _Blocks(RecordFile):
    def __init__(self, source: ByteSource, report: Report) -> None:
        super().__init__(source, report, longest=_MAX_BLOCK_BYTES)
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._undescribed: set[int] = set()

    def packets(self) -> Iterator[Packet]:
        window = self._window
        while window.fill(12):
            at = window.offset
            whole = self._length(window.start)
            if whole is None:
                if window.ended and window.available < 12:
                    self._cut_off(f"{window.available} bytes of a block, expected the rest")
                    return
                if not self._resynchronise("a block that cannot be"):
                    return
                continue
            if window.fill(whole) < whole and self._find(1) is None:
                self._cut_off(f"{window.available} bytes of a block of {whole}, expected the rest")
                return
            if not self._is_whole(window.start, whole):
                if not self._resynchronise(f"a block of {whole} bytes, which does not end there"):
                    return
                continue
            body = bytes(window.buffer[window.start + 8 : window.start + whole - 4])
            (kind,) = struct.unpack_from(self._order + "I", window.buffer, window.start)
            window.let_go(whole)
            try:
                packet = self._take(kind, body, at)
            except (struct.error, IndexError, OverflowError):
                self._losses.note(at, f"a block of type {kind} that cannot be read", whole)
                continue
            if packet:
                yield packet

    def _take(self, kind: int, body: bytes, at: int) -> Packet | None:
        order = self._order
        if kind == _SECTION:
            self._interfaces = []
        elif kind == _INTERFACE:
            self._interfaces.append(self._interface(body))
        elif kind == _ENHANCED_PACKET:
            number, upper, lower, captured, length = struct.unpack_from(order + "IIIII", body)
            return self._packet(number, upper << 32 | lower, body[20 : 20 + captured], captured, length, at)
        elif kind == _OLD_PACKET:
            number, _, upper, lower, captured, length = struct.unpack_from(order + "HHIIII", body)
            return self._packet(number, upper << 32 | lower, body[20 : 20 + captured], captured, length, at)
        elif kind == _SIMPLE_PACKET:
            (length,) = struct.unpack_from(order + "I", body)
            longest = self._interfaces[0].longest or length
            data = body[4 : 4 + min(length, longest)]
            return self._packet(0, None, data, len(data), length, at)
        return None

    def _packet(self, number: int, time: int | None, data: bytes, captured: int, length: int, at: int) -> Packet:
        if len(data) < captured:
            raise IndexError("less data than the packet says")
        interface = self._interfaces[number] if number < len(self._interfaces) else None
        if interface is None:
            interface = _Interface(_link_type_of(data, length), 0)
            self._say_undescribed(number, at)
        length = self._checked_length(captured, length, at)
        time_ns = None
        if time is not None:
            time_ns = interface.offset_s * 10**9 + time * 10**9 // interface.divisor
        return Packet(data, length, interface.link_type, at, time_ns)

    def _say_undescribed(self, number: int, at: int) -> None:
        if number not in self._undescribed:
            if len(self._undescribed) < _MOST_UNDESCRIBED:
                self._undescribed.add(number)
            self._losses.note(at, f"packets of interface {number}, which is not described", 0)

    def _interface(self, body: bytes) -> _Interface:
        link_type, longest = struct.unpack_from(self._order + "HxxI", body)
        divisor, offset_s = 10**6, 0
        at = 8
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self._order + "HH", body, at)
            value = body[at + 4 : at + 4 + length]
            if code == 0:
                break
            if code == _RESOLUTION and length == 1:
                power = value[0] & 0x7F
                divisor = 2**power if value[0] & 0x80 else 10 ** min(power, 30)
            elif code == _TIME_OFFSET and length == 8:
                (offset_s,) = struct.unpack(self._order + "q", value)
            at += 4 + length + -length % 4
        return _Interface(link_type, longest, divisor, offset_s)

    def _length(self, index: int) -> int | None:
        """How long the block at `index` says that it is; None if that cannot be, or is not there."""
        buffer = self._window.buffer
        if len(buffer) - index < 12:
            return None
        if bytes(buffer[index : index + 4]) == MAGIC:
            order = _BYTE_ORDERS.get(bytes(buffer[index + 8 : index + 12]))
            if order is None:
                return None
            self._order = order
        (length,) = struct.unpack_from(self._order + "I", buffer, index + 4)
        return length if 12 <= length <= _MAX_BLOCK_BYTES and length % 4 == 0 else None

    def _is_whole(self, index: int, length: int) -> bool:
        """Whether a block ends with its length as it begins."""
        buffer = self._window.buffer
        end = index + length
        return end <= len(buffer) and buffer[end - 4 : end] == buffer[index + 4 : index + 8]

    def _find(self, ahead: int) -> int | None:
        """How far ahead the next block begins that ends as it should; None if none does so soon."""
        window = self._window
        window.fill(ahead + 2 * _MAX_BLOCK_BYTES)
        order = self._order
        for match in _STARTS[order].finditer(window.buffer, window.start + ahead):
            length = self._length(match.start())
            if length is not None and self._is_whole(match.start(), length):
                return match.start() - window.start
            self._order = order
        return None


def _link_type_of(data: bytes, length: int) -> int:
    """The link type with which a packet has a TCP segment; Ethernet if none does."""
    for link_type in _LIKELY_LINKS:
        with suppress(PacketError):
            if tcp_segment(link_type, data, length) is not None:
                return link_type
    return _LIKELY_LINKS[0]
