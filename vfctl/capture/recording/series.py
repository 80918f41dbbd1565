"""A recording of any length: a file, or a series of files each of which can be read alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vfctl.capture.formats.mcap import METADATA_NAME
from vfctl.capture.message import Direction, Form
from vfctl.capture.recording.file_header import HeaderState, graph_facts
from vfctl.capture.recording.writer import CaptureWriter, Closing, check_target, open_writer
from vfctl.errors import UsageError
from vfctl.protocol import MessageType
from vfctl.quantities import parse_size_or_duration

LEAST_BYTES: Final = 100_000
LEAST_SECONDS: Final = 1.0
"""Less would make a file of every few messages."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A file ends at this size or age, whichever comes first; None: never."""

    max_bytes: int | None = None
    max_s: float | None = None


def parse_rotation(text: str) -> Rotation:
    """`100MB` or `10min`, or both with a comma between them.

    Raises:
        UsageError: it is neither, or too small.
    """
    max_bytes: int | None = None
    max_s: float | None = None
    for part in text.split(","):
        size, seconds = parse_size_or_duration(part, "--rotate")
        max_bytes = max_bytes if size is None else size
        max_s = max_s if seconds is None else seconds
    if max_bytes is not None and max_bytes < LEAST_BYTES:
        raise UsageError(f"--rotate is {text!r}, expected at least {LEAST_BYTES // 1000}kB")
    if max_s is not None and max_s < LEAST_SECONDS:
        raise UsageError(f"--rotate is {text!r}, expected at least {LEAST_SECONDS:g}s")
    return Rotation(max_bytes, max_s)


def numbered(path: Path, number: int) -> Path:
    """The file of a series with that number, from 1: `capture.mcap` gives `capture-0001.mcap`."""
    return path.with_name(f"{path.stem}-{number:04}{path.suffix}")


def numbers_taken(path: Path) -> list[int]:
    """Numbers of the existing files of a series, sorted."""
    pattern = re.compile(re.escape(path.stem) + r"-(\d{4,})" + re.escape(path.suffix))
    try:
        found = (pattern.fullmatch(entry.name) for entry in path.parent.iterdir())
        return sorted(int(match[1]) for match in found if match)
    except OSError:
        return []


MAX_CHUNKS: Final = 50_000
"""A file also ends with this many chunks, because its index of 600 bytes per chunk is kept in memory: 30 MB at most.
There is one chunk per second or MiB, so a file has at least 14 hours or 50 GB."""


class SeriesWriter(Closing):
    """A CaptureWriter that begins the next file when one is full.

    Each file begins with the newest FullGraph and positions, so it decodes alone. Without a rotation, the first file
    has the given name. With one, all files have numbers, which continue those of existing files.

    Args:
        path: `.mcap` or `.bin`.
        metadata: as for `open_writer`; `file_number` is added in a series.
        rotation: when a file is full.
        overwrite: whether existing files may be replaced. Then those of an earlier series are removed.
        max_chunks: a file is also full with this many chunks.

    Attributes:
        files: paths of the files so far.

    Raises:
        UsageError: another suffix.
        InputError: the file exists, or cannot be written. Nothing is created before the first message.
    """

    def __init__(
        self,
        path: Path,
        *,
        metadata: Mapping[str, str],
        rotation: Rotation | None = None,
        overwrite: bool = False,
        max_chunks: int = MAX_CHUNKS,
    ) -> None:
        self.files: list[Path] = []
        self._path = path
        self._metadata = metadata
        self._rotation = rotation or Rotation()
        self._numbered = rotation is not None
        self._overwrite = overwrite
        self._max_chunks = max_chunks
        self._header = HeaderState()
        self._writer: CaptureWriter | None = None
        self._finished_bytes = 0
        self._messages = 0
        self._first_ns = 0
        self._graph: Mapping[str, str] = {}
        check_series(path, rotation, overwrite=overwrite)
        taken = numbers_taken(path) if self._numbered else []
        self._stale = [numbered(path, number) for number in taken] if overwrite else []
        self._number = taken[-1] if taken and not overwrite else 0

    @property
    def size(self) -> int:
        """Total size of all files; see CaptureWriter."""
        return self._finished_bytes + (self._writer.size if self._writer else 0)

    @property
    def chunks(self) -> int:
        """Chunks of the current file; see CaptureWriter."""
        return self._writer.chunks if self._writer else 0

    def write(
        self,
        payload: bytes,
        arrival_ns: int,
        *,
        direction: Direction = Direction.SERVER,
        connection: int = 0,
        form: Form = Form.V4,
    ) -> None:
        """As for CaptureWriter; may begin a file."""
        if self._writer is None:
            self._begin(arrival_ns, ())
        elif self._is_full(len(payload), arrival_ns):
            is_graph = direction is Direction.SERVER and form is Form.V4 and payload[1] == MessageType.FULL_GRAPH
            opening = () if is_graph else self._header.payloads()
            if opening is not None:
                self._begin(arrival_ns, opening)
        assert self._writer is not None
        self._writer.write(payload, arrival_ns, direction=direction, connection=connection, form=form)
        self._messages += 1
        if direction is Direction.SERVER and form is Form.V4:
            self._header.take(payload)
            if payload[1] == MessageType.FULL_GRAPH:
                self._note_graph(payload)

    def note(self, name: str, values: Mapping[str, str]) -> None:
        """As for CaptureWriter. METADATA_NAME is repeated in later files; an event is dropped before the first file."""
        if name == METADATA_NAME:
            self._metadata = {**self._metadata, **values}
        if self._writer is not None:
            self._writer.note(name, values)

    def flush(self, *, older_than_s: float = 0.0) -> None:
        """As for CaptureWriter."""
        if self._writer is not None:
            self._writer.flush(older_than_s=older_than_s)

    def close(self) -> None:
        """As for CaptureWriter."""
        if self._writer is not None:
            self._writer.close()

    def _is_full(self, more_bytes: int, now_ns: int) -> bool:
        assert self._writer is not None
        if not self._messages:  # one message at least besides those that it begins with
            return False
        most = self._rotation
        return (
            (most.max_bytes is not None and self._writer.size + more_bytes > most.max_bytes)
            or (most.max_s is not None and now_ns - self._first_ns >= most.max_s * 1e9)
            or self._writer.chunks >= self._max_chunks
        )

    def _begin(self, now_ns: int, opening: Sequence[bytes]) -> None:
        """Begin the next file.

        Args:
            opening: the messages that it begins with.
        """
        if self._writer is not None:
            self._finished_bytes += self._writer.size
            self._writer.close()
        for stale in self._stale:
            stale.unlink(missing_ok=True)
        self._stale = []
        self._number += 1
        first = not self._numbered and self._number == 1
        while not first and not self._overwrite and numbered(self._path, self._number).exists():
            self._number += 1
        path = self._path if first else numbered(self._path, self._number)
        metadata = dict(self._metadata)
        if not first:
            metadata["file_number"] = str(self._number)
        self._writer = open_writer(path, metadata=metadata, overwrite=self._overwrite)
        self.files.append(path)
        self._messages = 0
        self._first_ns = now_ns
        self._graph = {}
        for payload in opening:
            self._writer.write(payload, now_ns)
            if payload[1] == MessageType.FULL_GRAPH:
                self._note_graph(payload)

    def _note_graph(self, payload: bytes) -> None:
        facts = graph_facts(payload)
        if facts != self._graph:
            self._graph = facts
            if self._writer is not None:
                self._writer.note(METADATA_NAME, facts)


def check_series(path: Path, rotation: Rotation | None, *, overwrite: bool = False) -> None:
    """Check early that a recording can be written there. Nothing is created.

    Raises:
        UsageError: a suffix that names no format.
        InputError: the file exists, or there is no such folder.
    """
    check_target(numbered(path, (numbers_taken(path) or [0])[-1] + 1) if rotation else path, overwrite=overwrite)
