"""Raw PositionUpdates of one size, read from a plain V4 file many at a time.

A recording is mostly that: the same eight bytes of header and count, again and again at the same distance. One
comparison of numpy's checks a hundred of them, and a view with strides is all their nodes; a message at a time would
cost more than copying the file.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.formats.known_starts import KnownStarts
from vfctl.capture.reader import Capture
from vfctl.errors import InputError, ProtocolError
from vfctl.protocol import NODE_DTYPE, Flag, MessageType
from vfctl.protocol.wire import HEADER, TRAILER, U32, measure

TRAILER_DTYPE: Final = np.dtype([("sequence", "<u8"), ("timestamp_us", "<u8"), ("interval_us", "<u4")])
"""One trailer on the wire: 20 bytes, packed."""

PIECE_BYTES: Final = 2**23
"""What is looked at together, if it is not one longer message: what memory a file of any length takes."""

_HEAD_BYTES: Final = 8
"""Header and node count."""


@dataclass(frozen=True, slots=True)
class UpdateRun:
    """PositionUpdates with the same flags and number of nodes, neither COMPRESSED nor COMPACT, one behind another.

    Attributes:
        buffer: where they stand, from its start: a part of the file, mapped as long as anything views it.
        offset: of the first one in the file.
        message_bytes: of each.
        nodes_each: how many nodes each has.
        timed: whether they have trailers.
        settled: whether they say SETTLED.
        messages: how many there are.
    """

    buffer: memoryview
    offset: int
    message_bytes: int
    nodes_each: int
    timed: bool
    settled: bool
    messages: int

    def __len__(self) -> int:
        return self.messages

    @property
    def nodes(self) -> npt.NDArray[np.void]:
        """NODE_DTYPE [messages, nodes], a view."""
        shape = (self.messages, self.nodes_each)
        strides = (self.message_bytes, NODE_DTYPE.itemsize)
        return np.ndarray(shape, NODE_DTYPE, self.buffer, _HEAD_BYTES, strides)

    @property
    def trailers(self) -> npt.NDArray[np.void] | None:
        """TRAILER_DTYPE [messages], a view; None if they are not TIMED."""
        if not self.timed:
            return None
        at = self.message_bytes - TRAILER.size
        return np.ndarray((self.messages,), TRAILER_DTYPE, self.buffer, at, (self.message_bytes,))


def with_runs(capture: Iterable[CapturedMessage]) -> Iterable[CapturedMessage | UpdateRun]:
    """The same recording with its runs together, where it is a plain file of V4 messages; else as it is."""
    if isinstance(capture, Capture) and _is_plain(capture):
        return _read_runs(capture)
    return capture


def _is_plain(capture: Capture) -> bool:
    return capture.format == "v4" and capture.compression is None and capture.rereadable


def _read_runs(capture: Capture) -> Iterator[CapturedMessage | UpdateRun]:
    """Up to the first byte that is no message; from there on the capture itself reads, which knows what to do then.

    Raises:
        VfctlError: as for iterating the capture.
    """
    piece = _Piece(Path(capture.name))
    try:
        while piece.fill():
            try:
                yield from piece.messages()
            except ProtocolError:
                break
    finally:
        piece.close()
    if piece.at_end:
        capture.close()
        return
    for captured in capture:
        if captured.offset >= piece.offset:
            yield captured


class _Piece:
    """A stretch of a file, and the messages in it that are whole and have another one, or the end, behind them.

    It is mapped, not read: that saves one of two copies. (If somebody truncates the file, mapped bytes are gone, and
    looking at them ends the process; a stretch is looked at within milliseconds of seeing that it is there.)
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        self._buffer = memoryview(b"")
        self._known = KnownStarts()
        self._wanted = PIECE_BYTES
        self._least = 1
        self.offset = 0  # of the first byte that has not been understood yet
        self.at_end = False

    def fill(self) -> bool:
        """Map what follows; whether that is enough to go on."""
        left = self._size() - self.offset
        self.at_end = left == 0
        if left < self._least:
            return False
        shift = self.offset % mmap.ALLOCATIONGRANULARITY
        length = shift + min(self._wanted, left)
        try:
            mapped = mmap.mmap(
                self._file.fileno(),
                length,
                mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0),
                mmap.PROT_READ,
                offset=self.offset - shift,
            )
        except (OSError, ValueError):
            return False  # not every file can be mapped
        self._buffer = memoryview(mapped)[shift:]
        return True

    def messages(self) -> Iterator[CapturedMessage | UpdateRun]:
        """The messages from the start on.

        Raises:
            ProtocolError: there is something else.
        """
        buffer, start = self._buffer, 0
        self._wanted, self._least = PIECE_BYTES, 1
        while start < len(buffer):
            needed, whole = measure(buffer, start)
            messages = self._certain(start, needed) if whole else 0
            if messages and self._is_update(start):
                if self._known.swallows(buffer, start, needed):
                    raise ProtocolError("messages within a message", offset=self.offset)
                self._known.remember(buffer, start, needed)
            if not messages:
                if not start:
                    self._least = needed + (HEADER.size if whole and self._size() > self.offset + needed else 0)
                    self._wanted = max(PIECE_BYTES, self._least)
                return
            at, first = self.offset, start
            start += messages * needed
            self.offset += messages * needed
            if self._is_update(first):
                self._wanted = max(1, PIECE_BYTES // needed) * needed + HEADER.size
                yield _run(buffer[first:start], at, needed, messages)
            else:
                yield CapturedMessage(bytes(buffer[first:start]), None, at)

    def _certain(self, start: int, needed: int) -> int:
        """How many messages like the first one stand here, each with another one or the end of the file behind it.

        Raises:
            ProtocolError: there is something else behind the first.
        """
        buffer = self._buffer
        room = (len(buffer) - start) // needed
        if not room:
            return 0
        if self._is_update(start):
            heads = np.ndarray((room,), "<u8", buffer, start, (needed,))
            others = np.flatnonzero(heads != heads[0])
            messages = int(others[0]) if len(others) else room
        else:
            messages = 1
        after = start + messages * needed
        if after + HEADER.size <= len(buffer):
            try:
                measure(buffer, after)
            except ProtocolError:
                if messages == 1:
                    raise
                return messages - 1
            return messages
        return messages if self.offset - start + after == self._size() else messages - 1

    def _is_update(self, start: int) -> bool:
        """Whether a raw PositionUpdate begins there."""
        raw = not self._buffer[start + 2] & (Flag.COMPRESSED | Flag.COMPACT)
        return raw and self._buffer[start + 1] == MessageType.POSITION_UPDATE

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        self._file.close()


def _run(view: memoryview, offset: int, needed: int, messages: int) -> UpdateRun:
    (nodes_each,) = U32.unpack_from(view, 4)
    flags = Flag(view[2])
    return UpdateRun(view, offset, needed, nodes_each, Flag.TIMED in flags, Flag.SETTLED in flags, messages)
