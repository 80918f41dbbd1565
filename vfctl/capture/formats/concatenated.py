"""V4 messages one after another, in a file or a pipe. Behind damage, reading continues at the next certain message."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.capture.losses import Report
from vfctl.capture.message import CapturedMessage, UpdateRun, raw_update_bytes
from vfctl.capture.source import ByteSource, Window
from vfctl.errors import ProtocolError
from vfctl.protocol.wire import HEADER, measure

HEAD = struct.Struct("<Q")
"""The header in the lower half, and in the upper half what most messages have there: their node count."""

_START = re.compile(rb"\x04(?=[\x01-\x0f][\x00-\x3f])", re.DOTALL)
"""Where a message may begin."""
WINDOW_BYTES: Final = 2**22
"""How much of a file is read at once: with 1 MiB, decoding to NPZ takes a fifth longer."""
_MAX_BLIND_BYTES: Final = 2**23
"""A larger message is only read if the file has something behind it, so far as that can be checked."""


def read_concatenated(source: ByteSource, report: Report) -> Iterator[CapturedMessage | UpdateRun]:
    """Every message, front to back.

    A message of a file is certain once another one, or the end, follows it. A message of a pipe, which may be live, is
    yielded before that is known.

    Raises:
        InputError: the operating system cannot read on.
    """
    yield from _Splitter(source, report).messages()


class _Splitter:
    def __init__(self, source: ByteSource, report: Report) -> None:
        self._window = Window(source, WINDOW_BYTES)
        self._patient = source.rereadable
        self._losses = report.losses
        self._known = _KnownStarts()

    def messages(self) -> Iterator[CapturedMessage | UpdateRun]:
        window = self._window
        least = HEADER.size
        while True:
            if window.fill(least) < least and window.available == 0:
                return
            yield from self._intact()
            least = self._needed()
            if window.available >= least or (window.fill(least) < least and window.available):
                yield from self._past_damage()
                least = HEADER.size

    def _intact(self) -> Iterator[CapturedMessage | UpdateRun]:
        """The complete messages in the window that another message follows (or nothing yet)."""
        window = self._window
        buffer, position, end = window.buffer, window.start, len(window.buffer)
        known = self._known
        base = window.offset - position
        while end - position >= HEAD.size:
            (head,) = HEAD.unpack_from(buffer, position)
            length = raw_update_bytes(head)
            is_raw = length is not None
            if length is None and (length := _length(buffer, position, end)) is None:
                break
            after = position + length
            if after + HEADER.size > end:
                if after > end or (self._patient and not self._ends_at(after)):
                    break
            elif not _begins(buffer, after, end):
                break
            if is_raw:
                if known.swallows(buffer, position, length):
                    break
                known.remember(buffer, position, length)
                count = self._run_length(position, length)
                if count > 1:
                    window.start = position + count * length
                    offsets = base + position + np.arange(count) * length
                    payloads = np.frombuffer(buffer, np.uint8, count * length, position).reshape(count, length)
                    yield UpdateRun(payloads, offsets)
                    position = window.start
                    continue
            window.start = after
            yield CapturedMessage(bytes(buffer[position:after]), None, base + position)
            position = after

    def _run_length(self, position: int, length: int) -> int:
        """Number of messages from `position` on with the same header and count, and another such one behind them."""
        buffer = self._window.buffer
        if buffer[position : position + HEAD.size] != buffer[position + length : position + length + HEAD.size]:
            return 1
        heads = _heads(buffer, position, length, (len(buffer) - position - HEAD.size) // length + 1)
        others = np.flatnonzero(heads != heads[0])
        count = (int(others[0]) if len(others) else len(heads)) - 1
        return self._known.first_swallowing(buffer, position, length, count)

    def _ends_at(self, index: int) -> bool:
        window = self._window
        return window.ended and index == len(window.buffer)

    def _needed(self) -> int:
        """Number of bytes needed from here to continue; 0 if no message begins here."""
        window = self._window
        try:
            needed, whole = measure(window.buffer, window.start)
        except ProtocolError:
            return 0
        if needed > max(window.available, _MAX_BLIND_BYTES) and self._foreseen(window.offset + needed, whole) is False:
            return 0
        return needed + (HEADER.size if whole and self._patient else 0)

    def _foreseen(self, offset: int, whole: bool) -> bool | None:
        """Whether the file continues at `offset`, with a message if `whole`; None if that cannot be checked."""
        around = self._window.source.look(offset - 1, 1 + HEAD.size)
        if around is None:
            return None
        return len(around) > 0 and (not whole or len(around) == 1 or _begins(around, 1, len(around)))

    def _past_damage(self) -> Iterator[CapturedMessage]:
        """Skip a message that is impossible, that no other one follows, or that is cut off; record the loss."""
        window = self._window
        whole = _length(window.buffer, window.start, len(window.buffer))
        whole = None if whole is None or whole > window.available else whole
        if whole is not None and not self._known.swallows(window.buffer, window.start, whole):
            self._known.remember(window.buffer, window.start, whole)
            if whole == window.available and window.ended:
                yield self._hand_over(whole)
                return
        found = self._find(1)
        if whole is not None and (found is None or found >= whole):
            # It is well-formed, so the damage is what follows.
            yield self._hand_over(whole)
            found = None if found is None else found - whole
        at = window.offset
        reason, cut_off = self._reason()
        while found is None and not window.ended:
            window.let_go(max(1, window.available - HEAD.size))
            found = self._find(0)
        window.let_go(window.available if found is None else found)
        self._losses.note(at, reason, window.offset - at, cut_off=cut_off and found is None)

    def _hand_over(self, length: int) -> CapturedMessage:
        window = self._window
        payload, at = bytes(window.buffer[window.start : window.start + length]), window.offset
        window.let_go(length)
        return CapturedMessage(payload, None, at)

    def _find(self, ahead: int) -> int | None:
        """Distance to the next certain message, at least `ahead`; None if there is none nearby."""
        window = self._window
        while True:
            waiting: int | None = None
            for match in _START.finditer(window.buffer, window.start + ahead):
                certain = self._is_certain(match.start())
                if certain:
                    return match.start() - window.start
                if certain is None and waiting is None:
                    waiting = match.start() - window.start
            # All possible starts have been checked, but the last bytes may be the start of a message.
            ahead = waiting if waiting is not None else max(ahead, window.available - HEAD.size)
            if window.ended or (waiting is None and window.available > _MAX_BLIND_BYTES):
                return None
            window.fill(max(window.available + 1, window.available * 3 // 2 if waiting is not None else 0))

    def _is_certain(self, index: int) -> bool | None:
        """Whether a message begins at `index` and another one follows it; None if more bytes are needed to know."""
        window = self._window
        end = len(window.buffer)
        try:
            needed, whole = measure(window.buffer, index)
        except ProtocolError:
            return False
        after = index + needed
        if (
            whole
            and after <= end
            and index + HEAD.size <= end
            and HEAD.unpack_from(window.buffer, index)[0] in self._known
        ):
            return True
        if whole and after + HEADER.size <= end:
            return _begins(window.buffer, after, end)
        if window.ended:
            return whole and after == end
        if needed > _MAX_BLIND_BYTES or after > end:
            return self._foreseen(window.offset + after - window.start, whole) and (True if whole else None)
        return None

    def _reason(self) -> tuple[str, bool]:
        """The fault of the message here, and whether it is the end of the file."""
        window = self._window
        try:
            needed, whole = measure(window.buffer, window.start)
        except ProtocolError as error:
            return error.reason, False
        if needed > window.available:
            more = "" if whole else " or more"
            return f"{window.available} bytes of a message that needs {needed}{more}, expected the rest", True
        return f"a message of {needed} bytes, behind which none begins", False


def holds_messages(start: bytes) -> bool:
    """Whether these bytes contain three consecutive messages, at any position."""
    buffer = start
    for match in _START.finditer(buffer):
        at, number = match.start(), 0
        while number < _ENOUGH_MESSAGES and (length := _length(buffer, at, len(buffer))) is not None:
            at, number = at + length, number + 1
        if number == _ENOUGH_MESSAGES and at <= len(buffer):
            return True
    return False


_ENOUGH_MESSAGES: Final = 3


def _length(buffer: memoryview | bytes, start: int, end: int) -> int | None:
    """Length of the message at `start`; None if there is none, or too little of it."""
    try:
        needed, whole = measure(buffer, start, end)
    except ProtocolError:
        return None
    return needed if whole else None


def _begins(buffer: memoryview | bytes, start: int, end: int) -> bool:
    """Whether a message begins at `start`, where at least four bytes are available."""
    if end - start >= HEAD.size and raw_update_bytes(HEAD.unpack_from(buffer, start)[0]) is not None:
        return True
    try:
        measure(buffer, start, end)
    except ProtocolError:
        return False
    return True


_MOST: Final = 8
"""Number of headers with counts that are remembered. One that was seen before is likely a message again."""


class _KnownStarts:
    """The first eight bytes of the latest kinds of raw updates, and the length of each kind."""

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}

    def __contains__(self, head: int) -> bool:
        return head in self._lengths

    def remember(self, buffer: memoryview, index: int, length: int) -> None:
        """Remember how the message at `index` begins, if it is a raw update."""
        (head,) = HEAD.unpack_from(buffer, index)
        if raw_update_bytes(head) is not None and head not in self._lengths:
            if len(self._lengths) == _MOST:
                del self._lengths[next(iter(self._lengths))]
            self._lengths[head] = length

    def swallows(self, buffer: memoryview, index: int, length: int) -> bool:
        """Whether another message begins within this one, just where one with a known count would have ended.

        The end of a message with a wrong count may well be the end of another message. If the count is new, the count
        of the next message is tried as well.
        """
        for known in self._lengths.values():
            at = index + known
            if known < length and at + HEAD.size <= len(buffer) and HEAD.unpack_from(buffer, at)[0] in self._lengths:
                return True
        (head,) = HEAD.unpack_from(buffer, index)
        is_new = raw_update_bytes(head) is not None and head not in self._lengths
        return is_new and _repeats(bytes(buffer[index : index + length]))

    def first_swallowing(self, buffer: memoryview, index: int, length: int, count: int) -> int:
        """Index of the first of `count` equally long messages that swallows another one; `count` if none does."""
        for known in self._lengths.values():
            if known < length:
                inner = _heads(buffer, index + known, length, count)
                hits = np.flatnonzero(np.isin(inner, np.array([*self._lengths], np.uint64)))
                count = int(hits[0]) if len(hits) else count
        return count


def _repeats(message: bytes) -> bool:
    """Whether one with the same header and another count begins in it, where a first one with that count would end."""
    header = message[: HEADER.size]
    at = message.find(header, HEAD.size)
    while 0 <= at <= len(message) - HEAD.size:
        if raw_update_bytes(int.from_bytes(message[at : at + HEAD.size], "little")) == at:
            return True
        at = message.find(header, at + 1)
    return False


def _heads(buffer: memoryview, start: int, length: int, count: int) -> npt.NDArray[np.uint64]:
    """uint64 [count]: the first eight bytes at `start` and at each multiple of `length` behind it."""
    return np.ndarray((count,), "<u8", buffer, start, (length,))
