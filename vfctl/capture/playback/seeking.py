"""The seek index of a finished MCAP file: where to begin reading for any moment."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from mcap.data_stream import RecordBuilder
from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import ChunkIndex
from mcap.summary import Summary

from vfctl.capture.formats.mcap import MAGIC, channel_topic
from vfctl.capture.message import TYPE_NAMES, CapturedMessage, Direction, Form
from vfctl.capture.reader import open_capture
from vfctl.errors import InputError, VfctlError
from vfctl.protocol import MessageType

MAX_SUMMARY_RECORD_BYTES: Final = 2**26
"""Larger than any index of a recording. Greater lengths are damage."""


@dataclass(frozen=True, slots=True, eq=False)
class SeekIndex:
    """The chunks of one file, in file order.

    Attributes:
        path: of the file.
        start_ns, end_ns: unix time of the first and the last message.
        starts_ns: int64 [chunks], of the earliest message in each.
        offsets, lengths: int64 [chunks], where each chunk record is.
        connection: the first one on which the server sent a graph or positions; None if there is none.
        graphs, updates: bool [chunks], whether a FullGraph or a PositionUpdate of that connection is in it.
        head: magic, schemas and channels: what a reader needs to know before the first chunk.
    """

    path: Path
    start_ns: int
    end_ns: int
    starts_ns: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    connection: int | None
    graphs: npt.NDArray[np.bool_]
    updates: npt.NDArray[np.bool_]
    head: bytes

    def open_at(self, time_ns: int, *, whole: bool = False) -> Tail:
        """The parts of the file that are needed to show the state at a moment, and everything after it.

        Args:
            whole: read everything from the graph on, because COMPACT updates depend on all earlier ones. Else only the
                newest positions before the moment are read.

        Raises:
            InputError: the file cannot be read any more.
        """
        before = self.starts_ns <= time_ns
        first = _last(before & self.updates)
        graph = _last((before & self.graphs)[: first + 1])
        parts = [(int(self.offsets[graph]), int(self.lengths[graph]))] if graph < first and not whole else []
        return Tail(self.path, self.head, parts, int(self.offsets[graph if whole else first]))


def seek_index(path: Path) -> SeekIndex | None:
    """The seek index of an MCAP file; None if it has no usable one, or is no MCAP file."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
            file.seek(0)
            summary = SeekingReader(file, record_size_limit=MAX_SUMMARY_RECORD_BYTES).get_summary()
    except (OSError, McapError, struct.error, ValueError, OverflowError, MemoryError, StopIteration):
        return None
    if summary is None or summary.statistics is None or not summary.chunk_indexes:
        return None
    chunks = sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)
    statistics = summary.statistics
    connection = _first_connection(path)
    return SeekIndex(
        path=path,
        start_ns=statistics.message_start_time,
        end_ns=statistics.message_end_time,
        starts_ns=np.array([chunk.message_start_time for chunk in chunks], np.int64),
        offsets=np.array([chunk.chunk_start_offset for chunk in chunks], np.int64),
        lengths=np.array([chunk.chunk_length for chunk in chunks], np.int64),
        connection=connection,
        graphs=_having(chunks, summary, connection, MessageType.FULL_GRAPH),
        updates=_having(chunks, summary, connection, MessageType.POSITION_UPDATE),
        head=_head(summary),
    )


class Tail(io.RawIOBase):
    """Parts of a file, and everything from an offset on, as one stream that is read forwards.

    Args:
        head: first bytes of the stream.
        parts: offsets and lengths of the parts behind them.
        start: offset of the rest.
    """

    def __init__(self, path: Path, head: bytes, parts: list[tuple[int, int]], start: int) -> None:
        try:
            self._file = path.open("rb")
            for offset, length in parts:
                self._file.seek(offset)
                head += self._file.read(length)
            self._file.seek(start)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        self.shift = start - len(head)
        """The file offset of a byte of the rest is its offset in the stream plus this."""
        self._head = head

    def readable(self) -> bool:
        """Always true."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return self._file.read(size)

    read1 = read

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _last(which: npt.NDArray[np.bool_]) -> int:
    """Index of the last true entry, else 0."""
    found = np.flatnonzero(which)
    return int(found[-1]) if len(found) else 0


def shows_state(captured: CapturedMessage) -> bool:
    """Whether a message is a FullGraph or has positions."""
    return captured.form is not Form.V4 or captured.payload[1] in (MessageType.FULL_GRAPH, MessageType.POSITION_UPDATE)


def _first_connection(path: Path) -> int | None:
    """The first connection on which the server sent a graph or positions."""
    with suppress(VfctlError), open_capture(path) as capture:
        for captured in capture:
            if captured.direction is Direction.SERVER and shows_state(captured):
                return captured.connection
    return None


def _having(
    chunks: list[ChunkIndex], summary: Summary, connection: int | None, type_id: MessageType
) -> npt.NDArray[np.bool_]:
    """bool [chunks], whether a chunk has messages of a type that the server sent on a connection."""
    topic = channel_topic(TYPE_NAMES[type_id], Direction.SERVER, connection or 0)
    wanted = {number for number, channel in summary.channels.items() if channel.topic == topic}
    return np.array([not wanted.isdisjoint(chunk.message_index_offsets) for chunk in chunks], np.bool_)


def _head(summary: Summary) -> bytes:
    builder = RecordBuilder()
    for schema in summary.schemas.values():
        schema.write(builder)
    for channel in summary.channels.values():
        channel.write(builder)
    return MAGIC + bytes(builder.end())  # type: ignore[no-untyped-call]
