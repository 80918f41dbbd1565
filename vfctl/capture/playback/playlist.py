"""One recording in several files: from any moment on, and message by message as its time comes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final

from vfctl.capture.message import CapturedMessage, Direction, Form
from vfctl.capture.playback.seeking import SeekIndex, Tail, seek_index, shows_state
from vfctl.capture.reader import Capture, open_capture
from vfctl.capture.source import STDIN
from vfctl.capture.timeline import TimedMessage, timeline
from vfctl.errors import CaptureError, InputError, VfctlError
from vfctl.protocol import MessageType


class Playlist:
    """What the server sent in a recording of one or more files, on one connection of each file.

    Attributes:
        name: its name in messages.
        rereadable: whether it can be played more than once.
        duration_s: seconds from the first to the last message; None if the files must be read to find out.
        start_ns: unix time of the first message in ns; None likewise.

    Raises:
        InputError: a file cannot be read, or `-` is not alone.
        CaptureError: a file is no recording.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._paths = list(paths)
        self.name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} … {Path(paths[-1]).name}"
        if len(paths) > 1 and STDIN in map(str, paths):
            raise InputError("- is read alone, not with other files")
        self._opened: Capture | None = None
        for path in paths:
            capture = open_capture(path)
            self.rereadable = capture.rereadable
            if len(paths) == 1:
                self.name = capture.name
            if self.rereadable:
                capture.close()
            else:
                self._opened = capture
        found = [seek_index(Path(path)) for path in paths] if self.rereadable else []
        self._indexes: list[SeekIndex] = [index for index in found if index is not None]
        self.duration_s: float | None = None
        self.start_ns: int | None = None
        if self._indexes and len(self._indexes) == len(paths):
            self.start_ns = self._indexes[0].start_ns
            self.duration_s = max(0, self._indexes[-1].end_ns - self.start_ns) / 1e9
        else:
            self._indexes = []

    @property
    def can_jump(self) -> bool:
        """Whether the files have an index for seeking."""
        return bool(self._indexes)

    def close(self) -> None:
        """Close a pipe that has not been played."""
        if self._opened is not None:
            self._opened.close()

    def messages(
        self, from_s: float, damage: list[VfctlError], *, whole: bool = False
    ) -> Generator[TimedMessage, None, None]:
        """What the server sent: what is needed to show the state at `from_s`, and everything after it.

        Args:
            from_s: seconds from the start of the recording.
            damage: errors of damaged files are added to it. The messages are those that are intact.
            whole: see `SeekIndex.open_at`.
        """
        if self._indexes and from_s > 0:
            yield from self._jump(from_s, damage, whole)
        else:
            selected = _ServerConnection()
            for timed in timeline(self._chain(self._paths, damage, selected)):
                if selected.selects(timed.captured):
                    yield timed

    def measure(self) -> None:
        """Find the duration by reading the whole recording."""
        last_s, first_ns = 0.0, None
        for timed in timeline(self._chain(self._paths, [], _ServerConnection())):
            last_s = max(last_s, timed.time_s)
            first_ns = first_ns or timed.captured.arrival_ns
        self.duration_s, self.start_ns = last_s, first_ns

    def _chain(
        self, paths: Sequence[str | Path], damage: list[VfctlError], selected: _ServerConnection
    ) -> Iterator[CapturedMessage]:
        for path in paths:
            opened, self._opened = self._opened, None
            if opened is None and not self.rereadable:
                raise InputError(f"{self.name} can only be read once", hint="save it to a file first")
            try:
                with opened or open_capture(path) as capture:
                    selected.connection = None
                    yield from capture
            except VfctlError as error:
                damage.append(error)

    def _jump(self, from_s: float, damage: list[VfctlError], whole: bool) -> Iterator[TimedMessage]:
        assert self.start_ns is not None
        time_ns = self.start_ns + round(from_s * 1e9)
        number = max((number for number, index in enumerate(self._indexes) if index.start_ns <= time_ns), default=0)
        tail = self._indexes[number].open_at(time_ns, whole=whole)
        selected = _ServerConnection(self._indexes[number].connection)
        for captured in chain(self._tail(tail), self._chain(self._paths[number + 1 :], damage, selected)):
            if selected.selects(captured):
                assert captured.arrival_ns is not None, "in MCAP every message has a time"
                yield TimedMessage(-1, (captured.arrival_ns - self.start_ns) / 1e9, captured)

    def _tail(self, tail: Tail) -> Iterator[CapturedMessage]:
        # Its checksum errors do not count, because it has not read the file from the start.
        with suppress(CaptureError), tail, open_capture(STDIN, tail) as capture:  # type: ignore[arg-type]
            for captured in capture:
                yield captured._replace(offset=captured.offset + tail.shift)


class _ServerConnection:
    """Selects what the server sent on one connection of a file: the first on which it sent a graph or positions.

    Args:
        connection: its number, if it is known already.
    """

    def __init__(self, connection: int | None = None) -> None:
        self.connection = connection

    def selects(self, captured: CapturedMessage) -> bool:
        """Whether the next message of the file belongs to it."""
        if captured.direction is not Direction.SERVER:
            return False
        if self.connection is None and shows_state(captured):
            self.connection = captured.connection
        return self.connection in (None, captured.connection)


_UPDATE: Final = MessageType.POSITION_UPDATE


class MessageCursor:
    """A cursor over the messages of a recording in order of time. It reads one message ahead.

    Time never runs backwards: a message that is older than the one before it gets the time of that one.

    Args:
        playlist: the recording.
        from_s: where to begin; see `Playlist.messages`.
        whole: likewise.

    Attributes:
        latest_s: time of the last message passed, in seconds from the start of the recording.
        damage: errors of the damaged files that have been read to their end.
    """

    def __init__(self, playlist: Playlist, from_s: float = 0.0, *, whole: bool = False) -> None:
        self.latest_s = 0.0
        self.damage: list[VfctlError] = []
        self._messages = playlist.messages(from_s, self.damage, whole=whole)
        self._next = next(self._messages, None)

    @property
    def ended(self) -> bool:
        """Whether all messages have been passed."""
        return self._next is None

    @property
    def next_s(self) -> float:
        """Time of the next message; infinite if there is none."""
        return max(self.latest_s, self._next.time_s) if self._next else float("inf")

    @property
    def brings_positions(self) -> bool:
        """Whether the next message has positions."""
        captured = self._next.captured if self._next else None
        return captured is not None and (captured.form is not Form.V4 or captured.payload[1] == _UPDATE)

    def due(self, until_s: float) -> Iterator[TimedMessage]:
        """Pass the messages up to a time, inclusive."""
        while self._next and self.next_s <= until_s:
            timed = self._next
            self.latest_s = self.next_s
            self._next = next(self._messages, None)
            yield timed

    def close(self) -> None:
        """Close the files."""
        self._messages.close()
