"""One direction of a TCP connection: segments as captured in, bytes as sent out (RFC 9293, section 3.4)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Final, NamedTuple

MAX_WAITING_BYTES: Final = 2**22
MAX_WAITING_SEGMENTS: Final = 2**12
"""What waits for a segment that was not captured, at most; then it is given up."""

MAX_AGE_SEGMENTS: Final = 64
"""So many further segments may come before one is given up that its receiver has acknowledged: it was on the line, but
the capture does not have it."""

HELD_SEGMENTS: Final = 16
"""Where a capture begins within a connection, so many segments are put into order before the first of them is taken for
the start."""

MAX_STEP_BYTES: Final = 2**26
"""A sequence number further off than this is not of the same stream: the largest windows in use are smaller."""


class Piece(NamedTuple):
    """Bytes of the stream, in order; or how many are missing.

    Attributes:
        data: the bytes; empty for a gap.
        gap: how many bytes are missing.
        offset: place in the file of the packet that they came in; of the one behind a gap.
        time_ns: when they came.
    """

    data: bytes | memoryview
    gap: int
    offset: int
    time_ns: int | None


class _Waiting(NamedTuple):
    place: int
    number: int
    data: bytes
    missing: int
    offset: int
    time_ns: int | None


class TcpOrder:
    """Puts segments into order, drops what was sent again, and says what is missing.

    Attributes:
        begun: whether a first byte is known.
        from_start: whether that is the first byte of the connection.
        ended: whether all up to FIN has been handed over.
        start: u32 sequence number of the first byte.
    """

    def __init__(self) -> None:
        self.begun = False
        self.from_start = False
        self.ended = False
        self.start = 0
        self._next = 0  # place of the next byte, unwrapped
        self._end: int | None = None  # place of FIN
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._age = 0
        self._held = False
        self._acknowledged = 0
        self._numbers = count()

    @property
    def next_sequence(self) -> int:
        """u32 sequence number of the byte that is to come."""
        return self._next & 0xFFFFFFFF

    def begin(self, sequence: int, *, from_start: bool) -> None:
        """Say what number the first byte has."""
        self.begun, self.from_start, self.start = True, from_start, sequence
        self._next = self._acknowledged = sequence
        self._held = not from_start

    def distance(self, sequence: int) -> int:
        """How far a sequence number is from the byte that is to come, negative if before it."""
        return ((sequence - self._next + 2**31) & 0xFFFFFFFF) - 2**31

    def take(
        self, sequence: int, data: bytes | memoryview, missing: int, offset: int, time_ns: int | None
    ) -> Iterator[Piece]:
        """A segment: what can be handed over now.

        Args:
            missing: how many bytes at its end were not captured.
        """
        if self._is_before_all(sequence, len(data) + missing):
            self.begin(sequence, from_start=True)
        place = self._next + self.distance(sequence)
        if self._held:
            self._wait(place, data, missing, offset, time_ns)
            if len(self._waiting) >= HELD_SEGMENTS:
                yield from self._release()
        elif not self._waiting and place <= self._next:
            yield from self._hand_over(place, data, missing, offset, time_ns)
        elif place + len(data) + missing > self._next:
            self._wait(place, data, missing, offset, time_ns)
            yield from self._in_order(time_ns)
            if self._waiting:
                self._age += 1
                if self._waiting_bytes > MAX_WAITING_BYTES or len(self._waiting) > MAX_WAITING_SEGMENTS:
                    yield from self._give_up()

    def _is_before_all(self, sequence: int, length: int) -> bool:
        """Whether the first bytes to come stand before what SYN said is the start: then SYN's number is wrong.

        One byte before it is a keep-alive.
        """
        fresh = self.from_start and self._next == self.start and not self._waiting and self._end is None
        return fresh and length > 1 and self.distance(sequence) < 0

    def finish_at(self, sequence: int) -> None:
        """FIN stands at this number."""
        self._end = self._next + self.distance(sequence)
        self.ended = self.ended or self._next >= self._end

    def acknowledged(self, sequence: int) -> Iterator[Piece]:
        """The other side has everything before this number: what is missing of that will not come any more."""
        self._acknowledged = max(self._acknowledged, self._next + self.distance(sequence))
        if self._waiting and self._age >= MAX_AGE_SEGMENTS and self._acknowledged >= self._waiting[0].place:
            yield from self._give_up()

    def flush(self, offset: int) -> Iterator[Piece]:
        """Nothing comes any more, up to `offset` of the file: hand over all that waits, and what is missing.

        Bytes that the other side has acknowledged, or that stood before FIN, were sent and are missing.
        """
        if self._held:
            yield from self._release()
        while self._waiting:
            yield from self._give_up()
        sent = self._acknowledged if self._end is None else self._end
        if 0 < sent - self._next <= MAX_STEP_BYTES:
            lost, self._next = sent - self._next, sent
            yield Piece(b"", lost, offset, None)

    def _wait(self, place: int, data: bytes | memoryview, missing: int, offset: int, time_ns: int | None) -> None:
        self._waiting_bytes += len(data)
        heapq.heappush(self._waiting, _Waiting(place, next(self._numbers), bytes(data), missing, offset, time_ns))

    def _release(self) -> Iterator[Piece]:
        """Begin with the first of those that were held."""
        self._held = False
        if self._waiting:
            self._next = self._waiting[0].place
            self.start = self.next_sequence
            yield from self._in_order(None)

    def _hand_over(
        self, place: int, data: bytes | memoryview, missing: int, offset: int, time_ns: int | None
    ) -> Iterator[Piece]:
        known = self._next - place
        if known < len(data):
            self._next = place + len(data)
            yield Piece(data[known:] if known else data, 0, offset, time_ns)
        until = place + len(data) + missing if missing else self._next
        if self._waiting:
            until = min(until, self._waiting[0].place)  # another copy that waits has the rest
        if until > self._next:
            lost, self._next = until - self._next, until
            yield Piece(b"", lost, offset, time_ns)
        self.ended = self._end is not None and self._next >= self._end

    def _in_order(self, time_ns: int | None) -> Iterator[Piece]:
        """What waits and has its turn. It comes at the time of what it waited for, if that is later."""
        while self._waiting and self._waiting[0].place <= self._next:
            each = heapq.heappop(self._waiting)
            self._waiting_bytes -= len(each.data)
            self._age = 0
            later = each.time_ns if time_ns is None or each.time_ns is None else max(each.time_ns, time_ns)
            yield from self._hand_over(each.place, each.data, each.missing, each.offset, later)

    def _give_up(self) -> Iterator[Piece]:
        """What is missing before the first that waits is lost."""
        first = self._waiting[0]
        gap = first.place - self._next
        self._age = 0
        if gap > 0:
            self._next = first.place
            yield Piece(b"", gap, first.offset, first.time_ns)
        yield from self._in_order(None)
