"""Packet captures: pcap and pcapng.

No library reads the records, because none continues behind damage. `docs/decisions/0013-opening-captures.md` has the
comparison. The formats: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/ and
https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/.
"""

from __future__ import annotations

import re
import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from vfctl.capture.formats.packets import Packet, PacketError, link_type_known, tcp_segment
from vfctl.capture.formats.tcp_reassembly import TcpConnections
from vfctl.capture.formats.websocket_messages import Tally
from vfctl.capture.losses import Report
from vfctl.capture.message import CapturedMessage
from vfctl.capture.source import ByteSource, Window, resembles
from vfctl.errors import CaptureError

MAX_PACKET_BYTES = 2**20
"""Longest packet that is read. The limit of libpcap is a quarter of this."""


class RecordFile(ABC):
    """A file of records. Behind damage, reading continues at the next certain record.

    Args:
        longest: length in bytes of the longest possible record.
    """

    def __init__(self, source: ByteSource, report: Report, *, longest: int) -> None:
        self._window = Window(source)
        self._losses = report.losses
        self._longest = longest

    @abstractmethod
    def _find(self, ahead: int) -> int | None:
        """Distance in bytes to the next certain record, at least `ahead`; None if none is within twice the longest."""

    def _resynchronise(self, reason: str) -> bool:
        """Skip to the next certain record and record the loss; False if there is none."""
        window = self._window
        at = window.offset
        found = self._find(1)
        while found is None and not window.ended:
            window.let_go(window.available - self._longest)
            found = self._find(0)
        window.let_go(window.available if found is None else found)
        self._losses.note(at, reason, window.offset - at)
        return found is not None

    def _checked_length(self, captured: int, length: int, at: int) -> int:
        """The length of a packet on the network. A captured length beyond it is damage, and is used in its place.

        The captured length is the one that can be verified: the next record begins behind it.
        """
        if captured > length:
            self._losses.note(at, f"a packet of {length} bytes, of which {captured} were captured", 0)
        return max(captured, length)

    def _cut_off(self, reason: str) -> None:
        window = self._window
        self._losses.note(window.offset, reason, window.available, cut_off=True)


def messages_of(packets: Iterable[Packet], name: str, report: Report) -> Iterator[CapturedMessage]:
    """The messages of all WebSocket connections, each as soon as its last byte was captured.

    Raises:
        CaptureError: there are none in it.
        InputError: as for iterating `packets`.
    """
    tally = Tally(report)
    connections = TcpConnections(tally)
    unknown: Counter[int] = Counter()
    packet_count = message_count = 0
    for packet in packets:
        packet_count += 1
        try:
            segment = tcp_segment(packet.link_type, packet.data, packet.length)
        except PacketError as error:
            report.losses.note(packet.offset, str(error), len(packet.data))
            continue
        if segment is None:
            if not link_type_known(packet.link_type):
                unknown[packet.link_type] += 1
            continue
        for message in connections.add(segment, packet.offset, packet.time_ns):
            message_count += 1
            yield message
    for message in connections.finish():
        message_count += 1
        yield message
    tally.summarise()
    for link_type, count in unknown.items():
        report.notes.append(f"{count} packets have the unsupported link type {link_type} and were left out")
    if not message_count and not report.losses:
        raise CaptureError(
            f"{name} has no VisionFlow messages: {packet_count} packets, {connections.seen} TCP connections, "
            f"{tally.websockets} of them WebSockets",
            hint="; ".join(report.notes) or "capture the port of the server: tcpdump -i any -s 0 -w FILE tcp port 8765",
        )


PCAP_MAGICS: Final[dict[bytes, tuple[str, int]]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""Byte order, and the unit in ns of the second time field of the records."""

_FILE_HEADER: Final = "IHHiIII"
"""magic, major and minor version, two unused fields, longest packet, link type."""
_LONGEST_BYTES: Final = 2**26
"""Greatest original length of a packet that is credible."""
_MAX_STEP_S: Final = 7 * 86400
"""Greatest step in time between two records that is credible without further evidence."""
_JUMP_TO_S: Final = 10**9
"""The clock does not jump to a time before this (2001): smaller numbers are other fields of a misplaced record."""


def read_pcap(source: ByteSource, report: Report) -> Iterator[CapturedMessage]:
    """The messages in the WebSocket connections of a capture.

    Raises:
        CaptureError: there are none.
        InputError: the operating system cannot read on.
    """
    yield from messages_of(_Packets(source, report).packets(), source.name, report)


class _Packets(RecordFile):
    def __init__(self, source: ByteSource, report: Report) -> None:
        super().__init__(source, report, longest=MAX_PACKET_BYTES)
        self._last_s: int | None = None

    def packets(self) -> Iterator[Packet]:
        window = self._window
        order, unit_ns = self._magic()
        head = struct.Struct(order + _FILE_HEADER)
        self._record = struct.Struct(order + "IIII")
        self._order = order
        self._units = 10**9 // unit_ns
        if window.fill(head.size) < head.size:
            self._cut_off(f"{window.available} bytes of the file header, expected {head.size}")
            return
        *_, link_type = head.unpack_from(window.buffer, window.start)
        link_type &= 0xFFFF
        window.let_go(head.size)
        size = self._record.size
        while window.fill(size):
            at = window.offset
            if window.available < size:
                self._cut_off(f"{window.available} bytes of a packet record, expected {size}")
                return
            if not self._continues(0):
                if not self._resynchronise("an impossible packet record"):
                    return
                continue
            seconds, fraction, captured, length = self._record.unpack_from(window.buffer, window.start)
            whole = size + captured
            if window.fill(whole + size) < whole:
                if self._find(1) is not None:
                    self._resynchronise(f"a packet of {captured} bytes, which is longer than the file")
                    continue
                self._cut_off(f"{window.available - size} bytes of a packet of {captured}, expected the rest")
                return
            if not self._continues(whole):
                found = self._find(1)
                if found is not None and found < whole:
                    self._resynchronise(f"a packet of {captured} bytes with no record behind it")
                    continue
            self._last_s = seconds
            data = bytes(window.buffer[window.start + size : window.start + whole])
            window.let_go(whole)
            length = self._checked_length(captured, length, at)
            yield Packet(data, length, link_type, at, seconds * 10**9 + fraction * unit_ns)

    def _magic(self) -> tuple[str, int]:
        """Byte order and time unit by the first four bytes, of which one bit may be wrong."""
        window = self._window
        window.fill(4)
        start = bytes(window.buffer[:4])
        if start not in PCAP_MAGICS:
            self._losses.note(0, f"the magic number {start.hex(' ')}, expected one of pcap", 0)
        return next(found for magic, found in PCAP_MAGICS.items() if resembles(start, magic))

    def _is_plausible(self, index: int, last_s: int | None) -> bool:
        """Whether a packet record may begin at `index` if the one before it was captured at `last_s`."""
        seconds, fraction, captured, length = self._record.unpack_from(self._window.buffer, index)
        near = last_s is None or abs(seconds - last_s) <= _MAX_STEP_S
        return bool(near and fraction < self._units and captured <= MAX_PACKET_BYTES and length <= _LONGEST_BYTES)

    def _continues(self, ahead: int) -> bool:
        """Whether a packet record begins `ahead` bytes from here, so far as the file has it.

        The clock may jump by weeks: nothing was sent in between, or two captures were joined. Such a record is accepted
        if the one behind it is near it in time.
        """
        window, size = self._window, self._record.size
        if window.start + ahead + size > len(window.buffer):
            return True
        if self._is_plausible(window.start + ahead, self._last_s):
            return True
        seconds, _, captured, length = self._record.unpack_from(window.buffer, window.start + ahead)
        if seconds < _JUMP_TO_S or captured > length:
            return False
        after = ahead + size + min(captured, MAX_PACKET_BYTES)
        rest = window.fill(after + size) - after
        return rest == 0 or (rest >= size and self._is_plausible(window.start + after, seconds))

    def _is_certain(self, index: int) -> bool:
        """Whether all fields of a packet record at `index` agree, and with the last record."""
        _, _, captured, length = self._record.unpack_from(self._window.buffer, index)
        return bool(captured <= length and self._is_plausible(index, self._last_s))

    def _find(self, ahead: int) -> int | None:
        """As in the base class: the next certain record with another one, or the end of the file, behind it."""
        window, size = self._window, self._record.size
        window.fill(ahead + 2 * (MAX_PACKET_BYTES + size))
        buffer = window.buffer
        starts: Iterator[int] = iter(range(window.start + ahead, len(buffer) - size + 1))
        if self._last_s is not None:
            # The upper half of the seconds changes every 18 hours. Only records that have it are considered.
            upper = struct.pack(self._order + "I", self._last_s)
            upper = upper[2:] if self._order == "<" else upper[:2]
            at = 2 if self._order == "<" else 0
            pattern = re.compile(b"(?=" + re.escape(upper) + b")", re.DOTALL)
            starts = (m.start() - at for m in pattern.finditer(buffer, window.start + ahead + at, len(buffer)))
        for index in starts:
            if index + size > len(buffer) or not self._is_certain(index):
                continue
            after = index + size + self._record.unpack_from(buffer, index)[2]
            if after + size <= len(buffer):
                if self._is_certain(after):
                    return index - window.start
            elif window.ended and after == len(buffer):
                return index - window.start
        return None


PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"

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
"""Where a block of a supported type may begin."""

_LIKELY_LINKS: Final = (1, 276, 113, 101, 0)
"""Link types to try for an interface without a description: Ethernet, Linux cooked (2), raw IP, loopback."""
_MOST_UNDESCRIBED: Final = 256


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    longest: int  # most bytes captured of a packet; 0: all
    divisor: int = 10**6  # time units per second
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
        """Length of the block at `index` by its first length field; None if it is impossible or not available."""
        buffer = self._window.buffer
        if len(buffer) - index < 12:
            return None
        if bytes(buffer[index : index + 4]) == PCAPNG_MAGIC:
            order = _BYTE_ORDERS.get(bytes(buffer[index + 8 : index + 12]))
            if order is None:
                return None
            self._order = order
        (length,) = struct.unpack_from(self._order + "I", buffer, index + 4)
        return length if 12 <= length <= _MAX_BLOCK_BYTES and length % 4 == 0 else None

    def _is_whole(self, index: int, length: int) -> bool:
        """Whether both length fields of a block agree."""
        buffer = self._window.buffer
        end = index + length
        return end <= len(buffer) and buffer[end - 4 : end] == buffer[index + 4 : index + 8]

    def _find(self, ahead: int) -> int | None:
        """As in the base class: the next block whose length fields agree."""
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
