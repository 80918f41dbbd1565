"""One recording in several files, in order, from any moment on."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from vfctl.capture.captured import CapturedMessage, Direction, Form
from vfctl.capture.playback.seeking import SeekIndex, Tail, seek_index
from vfctl.capture.reader import Capture, open_capture
from vfctl.capture.source import STDIN
from vfctl.capture.timeline import TimedMessage, timeline
from vfctl.errors import CaptureError, InputError, VfctlError
from vfctl.protocol import MessageType

_STATES: Final = (MessageType.FULL_GRAPH, MessageType.POSITION_UPDATE)


class Playlist:
    """What the server sent in a recording that may be in several files; of one connection, if a file has several.

    Attributes:
        name: for people.
        rereadable: whether it can be played more than once.
        duration_s: from the first to the last message; None where the files do not tell before they have been read.
        start_ns: unix time of the first message; None likewise.

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
        self._connection: int | None = None
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
        """Whether a moment is found without reading all that is before it."""
        return bool(self._indexes)

    def close(self) -> None:
        """Let go of a pipe that has not been played."""
        if self._opened is not None:
            self._opened.close()

    def messages(
        self, from_s: float, damage: list[VfctlError], *, whole: bool = False
    ) -> Generator[TimedMessage, None, None]:
        """What the server sent: enough to show how it was at `from_s`, and all that comes after.

        Args:
            from_s: seconds from the recording's start.
            damage: what is wrong with the files is added to it; the messages are what is intact.
            whole: see `SeekIndex.open_at`.
        """
        if self._indexes and from_s > 0:
            yield from self._jump(from_s, damage, whole)
        else:
            yield from self._of_one_server(timeline(self._chain(self._paths, damage)))

    def measure(self) -> None:
        """Find the duration by reading all of it."""
        last_s, first_ns = 0.0, None
        for timed in timeline(self._chain(self._paths, [])):
            last_s = max(last_s, timed.time_s)
            first_ns = first_ns or timed.captured.arrival_ns
        self.duration_s, self.start_ns = last_s, first_ns

    def _chain(self, paths: Sequence[str | Path], damage: list[VfctlError]) -> Iterator[CapturedMessage]:
        for path in paths:
            opened, self._opened = self._opened, None
            if opened is None and not self.rereadable:
                raise InputError(f"{self.name} can only be read once", hint="save it to a file first")
            try:
                with opened or open_capture(path) as capture:
                    self._connection = None
                    yield from capture
            except VfctlError as error:
                damage.append(error)

    def _jump(self, from_s: float, damage: list[VfctlError], whole: bool) -> Iterator[TimedMessage]:
        assert self.start_ns is not None
        time_ns = self.start_ns + round(from_s * 1e9)
        number = max((number for number, index in enumerate(self._indexes) if index.start_ns <= time_ns), default=0)
        tail = self._indexes[number].open_at(time_ns, whole=whole)
        yield from self._of_one_server(self._timed(self._tail(tail)))
        yield from self._of_one_server(self._timed(self._chain(self._paths[number + 1 :], damage)))

    def _tail(self, tail: Tail) -> Iterator[CapturedMessage]:
        # What it says of checksums is of no account: it has not seen the file from its start.
        with suppress(CaptureError), tail, open_capture(STDIN, tail) as capture:  # type: ignore[arg-type]
            self._connection = None
            for captured in capture:
                yield captured._replace(offset=captured.offset + tail.shift)

    def _timed(self, messages: Iterable[CapturedMessage]) -> Iterator[TimedMessage]:
        assert self.start_ns is not None
        for captured in messages:
            assert captured.arrival_ns is not None, "in MCAP everything has a time"
            yield TimedMessage(-1, (captured.arrival_ns - self.start_ns) / 1e9, captured)

    def _of_one_server(self, messages: Iterable[TimedMessage]) -> Iterator[TimedMessage]:
        """What servers sent, of the first connection of each file on which one has sent positions."""
        for timed in messages:
            captured = timed.captured
            if captured.direction is not Direction.SERVER:
                continue
            if self._connection is None and (captured.form is not Form.V4 or captured.payload[1] in _STATES):
                self._connection = captured.connection
            if self._connection in (None, captured.connection):
                yield timed
