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

_KEPT_BYTES: Final = 2**12
"""So many bytes are kept, to see whether a segment repeats them."""

MAX_STEP_BYTES: Final = 2**26
"""A sequence number further off than this is not of the same stream: the largest windows in use are smaller."""


class Piece(NamedTuple):
    """Bytes of the stream, in order; or how many are missing.

    Attributes:
        data: the bytes; empty for a gap, and without one for a segment whose number is wrong.
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
        doubtful: offset in the file of the newest segment, if it repeats a few bytes and may have a number too low
            instead, by one wrong bit; else None.
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
        self._held_until = 0  # place behind those that are held, as far as they came in order
        self._acknowledged = 0
        self._numbers = count()
        self.doubtful: int | None = None
        self._newest: list[bytes | memoryview] = []  # the bytes before the next
        self._newest_bytes = 0
        self._odd: tuple[int, int] | None = None  # offset and length of a segment whose number may be wrong

    @property
    def next_sequence(self) -> int:
        """u32 sequence number of the byte that is to come."""
        return self._next & 0xFFFFFFFF

    @property
    def expected(self) -> int:
        """The same, while segments are held: of the byte behind these."""
        return self._until & 0xFFFFFFFF

    @property
    def _until(self) -> int:
        return self._held_until if self._held else self._next

    def begin(self, sequence: int, *, from_start: bool) -> None:
        """Say what number the first byte has."""
        self.begun, self.from_start, self.start = True, from_start, sequence
        self._next = self._acknowledged = self._held_until = sequence
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
            self._hold(place, data, missing, offset)
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

    def _repeats_other_bytes(self, place: int, data: bytes | memoryview) -> bool:
        """Whether a segment was sent before if its number is right, but one bit of that seems to be wrong.

        Where others follow there is a gap in front of them then. But nothing follows the last one.
        """
        until = self._until
        if len(data) < 2 or ((place ^ until) & 0xFFFFFFFF).bit_count() != 1:
            return False
        newest = b"".join(self._newest)
        start = until - len(newest)
        compared = max(place, start)
        copy = data[compared - place : until - place]
        return not len(copy) or newest[compared - start : compared - start + len(copy)] != copy

    def _contradicts(self, place: int, data: bytes | memoryview) -> bool:
        """Whether a segment has other bytes than those that came where it overlaps them: its number is wrong."""
        newest = b"".join(self._newest)
        known = min(self._next - place, len(newest))
        end = self._next - place
        return newest[len(newest) - known :] != data[end - known : end]

    def _is_copy(self, data: bytes | memoryview) -> bool:
        return bytes(data[-_KEPT_BYTES:]) in b"".join(self._newest)

    def _keep(self, data: bytes | memoryview) -> None:
        self._odd = None
        if len(data) > _KEPT_BYTES:
            data = data[-_KEPT_BYTES:]
        self._newest.append(data)
        self._newest_bytes += len(data)
        while self._newest_bytes - len(self._newest[0]) >= _KEPT_BYTES:
            self._newest_bytes -= len(self._newest.pop(0))

    def _forget(self) -> None:
        self._odd = None
        self._newest.clear()
        self._newest_bytes = 0

    def finish_at(self, sequence: int) -> None:
        """FIN stands at this number."""
        self._end = self._next + self.distance(sequence)
        self.ended = self.ended or self._next >= self._end

    def acknowledged(self, sequence: int) -> Iterator[Piece]:
        """The other side has everything before this number: what is missing of that will not come any more."""
        self._acknowledged = max(self._acknowledged, self._next + self.distance(sequence))
        if self._acknowledged >= self._until:
            self._odd = self.doubtful = None  # it would have acknowledged more
        if self._waiting and self._age >= MAX_AGE_SEGMENTS and self._acknowledged >= self._waiting[0].place:
            yield from self._give_up()

    def flush(self, offset: int) -> Iterator[Piece]:
        """Nothing comes any more, up to `offset` of the file: hand over all that waits, and what is missing.

        Bytes that the other side has acknowledged, or that stood before FIN, were sent and are missing.
        """
        if self._held:
            yield from self._release()
        odd = self._odd
        while self._waiting:
            yield from self._give_up()
        self._odd = odd
        sent = self._acknowledged if self._end is None else self._end
        if 0 < sent - self._next <= MAX_STEP_BYTES:
            lost, self._next = sent - self._next, sent
            yield Piece(b"", lost, offset, None)
        elif self._odd and self._end is None:
            at, length = self._odd
            yield Piece(b"", length, at, None)

    def _wait(self, place: int, data: bytes | memoryview, missing: int, offset: int, time_ns: int | None) -> None:
        self._waiting_bytes += len(data)
        heapq.heappush(self._waiting, _Waiting(place, next(self._numbers), bytes(data), missing, offset, time_ns))

    def _hold(self, place: int, data: bytes | memoryview, missing: int, offset: int) -> None:
        """Follow those that are held for as long as they come in order."""
        known = self._held_until - place
        odd = known > 0 and self._repeats_other_bytes(place, data)
        if 0 <= known < len(data) + missing:
            self._held_until = place + len(data) + missing
            if missing:
                self._forget()
            else:
                self._keep(data[known:])
        if odd:
            self._odd = offset, len(data)

    def _release(self) -> Iterator[Piece]:
        """Begin with the first of those that were held."""
        self._held = False
        odd = self._odd
        self._forget()
        if self._waiting:
            self._next = self._waiting[0].place
            self.start = self.next_sequence
            yield from self._in_order(None)
        self._odd = odd

    def _hand_over(
        self, place: int, data: bytes | memoryview, missing: int, offset: int, time_ns: int | None
    ) -> Iterator[Piece]:
        known = self._next - place
        if 0 < known < len(data) and self._contradicts(place, data):
            yield Piece(b"", 0, offset, time_ns)
            if ((place ^ self._next) & 0xFFFFFFFF).bit_count() != 1 or self._is_copy(data):
                return
            place, known = self._next, 0
        odd = known > 0 and self._repeats_other_bytes(place, data)
        if known < len(data):
            one_bit = known > 0 and ((place ^ self._next) & 0xFFFFFFFF).bit_count() == 1
            self.doubtful = offset if one_bit else None
            self._next = place + len(data)
            fresh = data[known:] if known else data
            self._keep(fresh)
            yield Piece(fresh, 0, offset, time_ns)
        until = place + len(data) + missing if missing else self._next
        if self._waiting:
            until = min(until, self._waiting[0].place)  # another copy that waits has the rest
        if until > self._next:
            lost, self._next = until - self._next, until
            self._forget()
            yield Piece(b"", lost, offset, time_ns)
        if odd:
            self._odd = offset, len(data)
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
            self._forget()
            yield Piece(b"", gap, first.offset, first.time_ns)
        yield from self._in_order(None)
