"""pcap: a file header, then one record for each packet (https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/).

No library reads the records, because none continues behind damage. `docs/decisions/0013-opening-captures.md` has the
comparison.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.formats.packet_capture import MAX_PACKET_BYTES, RecordFile, messages_of
from vfctl.capture.formats.packets import Packet
from vfctl.capture.report import Report
from vfctl.capture.source import ByteSource, resembles

MAGICS: Final[dict[bytes, tuple[str, int]]] = {
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
        if start not in MAGICS:
            self._losses.note(0, f"the magic number {start.hex(' ')}, expected one of pcap", 0)
        return next(found for magic, found in MAGICS.items() if resembles(start, magic))

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
