"""pcap: a header, and a record a packet (https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/).

Framed here, not by a library, so that reading goes on behind damage; `docs/decisions/0013-opening-captures.md` has what
was compared.
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
"""Byte order, and how many ns the unit of the records' second time field is."""

_FILE_HEADER: Final = "IHHiIII"
"""magic, major and minor version, two that are 0, longest packet, link type."""
_LONGEST_BYTES: Final = 2**26
_MAX_STEP_S: Final = 7 * 86400
"""Packets further apart in time than this are looked at: one bit of a time may be wrong."""
_MAX_PAUSE_S: Final = 3600
"""A step in time that is a power of two, give or take this, comes from one wrong bit."""


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
            seconds, fraction, captured, length = self._record.unpack_from(window.buffer, window.start)
            if not self._is_plausible(window.start):
                in_turn = self._is_in_turn(window.start)
                if in_turn is None:
                    if not self._resynchronise("a packet record that cannot be"):
                        return
                    continue
                if not in_turn or self._is_one_bit_away(seconds):
                    self._losses.note(at, f"the time of a packet is {seconds} s and {fraction}/{self._units}", 0)
                if not in_turn:
                    fraction = 0
                    seconds = seconds if self._is_near(seconds) else self._last_s
            whole = size + captured
            if window.fill(whole + size) < whole:
                if self._find(1) is not None:
                    self._resynchronise(f"a packet of {captured} bytes, which the file does not have")
                    continue
                self._cut_off(f"{window.available - size} bytes of a packet of {captured}, expected the rest")
                return
            after = window.start + whole
            if after + size <= len(window.buffer) and not self._is_plausible(after):
                found = self._find(1)
                if found is not None and found < whole:
                    self._resynchronise(f"a packet of {captured} bytes, behind which there is none")
                    continue
            self._last_s = seconds
            data = bytes(memoryview(window.buffer)[window.start + size : window.start + whole])
            window.let_go(whole)
            yield Packet(data, length, link_type, at, seconds * 10**9 + fraction * unit_ns)

    def _magic(self) -> tuple[str, int]:
        """What the first four bytes say; one bit of them may be wrong."""
        window = self._window
        window.fill(4)
        start = bytes(window.buffer[:4])
        if start not in MAGICS:
            self._losses.note(0, f"the magic number {start.hex(' ')}, expected one of pcap", 0)
        return next(found for magic, found in MAGICS.items() if resembles(start, magic))

    def _is_plausible(self, index: int) -> bool:
        """Whether a packet's record may begin there."""
        seconds, fraction, captured, length = self._record.unpack_from(self._window.buffer, index)
        return bool(self._is_near(seconds) and fraction < self._units and _lengths_hold(captured, length))

    def _is_near(self, seconds: int) -> bool:
        return self._last_s is None or abs(seconds - self._last_s) <= _MAX_STEP_S

    def _is_one_bit_away(self, seconds: int) -> bool:
        """Whether one wrong bit makes such a time of one that is near the last."""
        if self._last_s is None:
            return False
        step = abs(seconds - self._last_s)
        return any(abs(step - (1 << bit)) <= _MAX_PAUSE_S for bit in (step.bit_length() - 1, step.bit_length()))

    def _is_in_turn(self, index: int) -> bool | None:
        """Whether the clock has jumped, and it is not just one time that is wrong; None if no record begins there.

        One does if another follows it, in time with it or with the one before. Captures that were put together jump,
        and ports at which nobody called for weeks; of the last packet only the step itself tells.
        """
        size, buffer = self._record.size, self._window.buffer
        seconds, fraction, captured, length = self._record.unpack_from(buffer, index)
        if not _lengths_hold(captured, length):
            return None
        self._window.fill(2 * size + captured)
        buffer, after = self._window.buffer, self._window.start + size + captured
        if after + size > len(buffer):
            if after < len(buffer):
                return None
            return fraction < self._units and not self._is_one_bit_away(seconds)
        if self._is_plausible(after):
            return False
        following, _, captured, length = self._record.unpack_from(buffer, after)
        together = abs(following - seconds) <= _MAX_STEP_S and fraction < self._units
        return True if together and _lengths_hold(captured, length) else None

    def _find(self, ahead: int) -> int | None:
        """How far ahead the next record begins that another one follows, or the end; None if none does so soon."""
        window, size = self._window, self._record.size
        window.fill(ahead + 2 * (MAX_PACKET_BYTES + size))
        buffer = window.buffer
        starts: Iterator[int] = iter(range(window.start + ahead, len(buffer) - size + 1))
        if self._last_s is not None:
            # The upper half of the seconds changes every 18 hours: what does not have it is not looked at.
            upper = struct.pack(self._order + "I", self._last_s)
            upper = upper[2:] if self._order == "<" else upper[:2]
            at = 2 if self._order == "<" else 0
            pattern = re.compile(b"(?=" + re.escape(upper) + b")", re.DOTALL)
            starts = (m.start() - at for m in pattern.finditer(buffer, window.start + ahead + at, len(buffer)))
        for index in starts:
            if index + size > len(buffer) or not self._is_plausible(index):
                continue
            after = index + size + self._record.unpack_from(buffer, index)[2]
            if after + size <= len(buffer):
                if self._is_plausible(after):
                    return index - window.start
            elif window.ended and after == len(buffer):
                return index - window.start
        return None


def _lengths_hold(captured: int, length: int) -> bool:
    """Whether so many bytes of a packet of that length may have been captured."""
    return captured <= length <= _LONGEST_BYTES and captured <= MAX_PACKET_BYTES
