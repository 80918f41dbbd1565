"""NPZ: the PositionUpdates as columns, for `numpy.load`."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from vfctl.capture.exporters.records import NodeRecords, node_records, warn_of_left_out
from vfctl.capture.timeline import DecodedMessage, DecodedRun, Item
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph

ABSENT: Final = -1
"""`sequence` and `timestamp_us` of an update that is not TIMED (or whose value is beyond int64)."""

_MAX_INT64: Final = 2**63 - 1
_COPY_BYTES: Final = 2**20
_IN_MEMORY_BYTES: Final = 2**20
_LARGE_FRAME_BYTES: Final = 2**17
"""Smaller frames are gathered before they are written. Larger ones are written one by one, without a copy."""
_WRITTEN_BEHIND_BYTES: Final = 2**20
"""Smaller amounts are written directly, because handing them to a thread takes as long."""
_THREADS: Final = 2
"""One thread writes, during which the kernel locks the file. The other one copies and computes the checksum."""
_BUFFER_BYTES: Final = 2**19
"""Bytes that are gathered at once. They stay in the processor's cache until they are written."""

_COLUMNS: Final = (
    ("message", np.dtype("<i8")),
    ("time_s", np.dtype("<f8")),
    ("connection", np.dtype("<u4")),
    ("sequence", np.dtype("<i8")),
    ("timestamp_us", np.dtype("<i8")),
    ("offsets", np.dtype("<i8")),
    ("edges", EDGE_DTYPE),
)


def write_npz(items: Iterator[Item], out: BinaryIO) -> None:
    """Write columns with one entry per PositionUpdate, and the nodes of all of them.

    `message` int64 (its number in the recording), `time_s` float64, `connection` uint32, `sequence` and `timestamp_us`
    int64 [frames]; `offsets` int64 [frames + 1], so that `nodes[offsets[i]:offsets[i + 1]]` is frame i; `nodes`
    NODE_DTYPE (a deployed server's: as `split_flags` has it); `edges` EDGE_DTYPE of the first FullGraph; `form` text,
    `v4` or the deployed form.

    The nodes are written directly to `out`, and the header with their number is rewritten at the end. A pipe, which
    cannot be rewritten, gets a copy of a temporary file.
    """
    if _rewritable(out):
        _write(items, out)
        return
    with tempfile.TemporaryFile() as draft:
        _write(items, draft)
        draft.seek(0)
        shutil.copyfileobj(draft, out, _COPY_BYTES)


def _write(items: Iterator[Item], out: Any) -> None:
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(out, "w"))
        columns = {name: stack.enter_context(_Column(dtype)) for name, dtype in _COLUMNS}
        threads = stack.enter_context(ThreadPoolExecutor(_THREADS))
        nodes = _gather(items, columns, lambda dtype, form: _NodesMember(archive, out, threads, dtype, form))
        nodes.close()
        for name, column in columns.items():
            # Without a date, so that the same recording always gives the same file.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                column.write_npy(member)
        form = io.BytesIO()
        np.lib.format.write_array(form, np.array(nodes.form))
        archive.writestr(zipfile.ZipInfo("form.npy"), form.getvalue())


def _gather(
    items: Iterator[Item], columns: dict[str, _Column], member: Callable[[np.dtype[Any], str], _NodesMember]
) -> _NodesMember:
    """Write the nodes and fill the columns."""
    nodes: _NodesMember | None = None
    graph_seen = False
    others = 0
    columns["offsets"].append(0)
    for item in items:
        if isinstance(item, DecodedMessage) and isinstance(item.message, FullGraph):
            if not graph_seen:
                columns["edges"].extend(item.message.edges)
                graph_seen = True
            continue
        records = node_records(item)
        if records is None:
            continue
        nodes = nodes or member(records.array.dtype, records.form)
        if records.array.dtype != nodes.dtype:
            others += len(records)
            continue
        _extend(columns, item, records, nodes)
    warn_of_left_out(others, f"the nodes of this file are {nodes.form}" if nodes else "")
    return nodes or member(NODE_DTYPE, "v4")


def _extend(columns: dict[str, _Column], item: Item, records: NodeRecords, nodes: _NodesMember) -> None:
    """Add one update, or a run of them."""
    start = nodes.count
    nodes.extend(records.array)
    if isinstance(item, DecodedRun):
        each = records.array.shape[1]
        columns["message"].extend(item.numbers)
        columns["time_s"].extend(item.times_s)
        columns["connection"].extend(np.full(len(item), item.connection, "<u4"))
        for name in ("sequence", "timestamp_us"):
            columns[name].extend(_int64s(None if item.trailers is None else item.trailers[name], len(item)))
        columns["offsets"].extend(start + each * np.arange(1, len(item) + 1))
        return
    columns["message"].append(item.number)
    columns["time_s"].append(item.time_s)
    columns["connection"].append(item.connection)
    columns["sequence"].append(_int64(records.sequence))
    columns["timestamp_us"].append(_int64(records.timestamp_us))
    columns["offsets"].append(nodes.count)


def _int64(value: int | None) -> int:
    return value if value is not None and value <= _MAX_INT64 else ABSENT


def _int64s(values: npt.NDArray[np.uint64] | None, count: int) -> npt.NDArray[np.int64]:
    if values is None:
        return np.full(count, ABSENT)
    return np.where(values <= _MAX_INT64, values.astype(np.int64), ABSENT)


def _rewritable(out: BinaryIO) -> bool:
    """Whether bytes that were written can be rewritten."""
    try:
        if not out.seekable() or out.tell():
            return False
        appends = fcntl.fcntl(out.fileno(), fcntl.F_GETFL) & os.O_APPEND
    except OSError:  # it is no file, but memory
        return isinstance(out, io.BytesIO)
    return not appends


def _descriptor(out: BinaryIO) -> int | None:
    try:
        return out.fileno()
    except OSError:  # it is memory
        return None


class _NodesMember:
    """`nodes.npy` in an archive: a one-dimensional array that grows. Its length is written at the end.

    zipfile does not write it, because its checksum takes as long as everything else together.

    Attributes:
        dtype: of the nodes.
        form: V4, or the form of a deployed server.
        count: number of nodes.
    """

    def __init__(
        self, archive: zipfile.ZipFile, out: BinaryIO, threads: ThreadPoolExecutor, dtype: np.dtype[Any], form: str
    ) -> None:
        self.dtype = dtype
        self.form = form
        self.count = 0
        self._archive = archive
        self._out = out
        self._crc = 0
        self._buffers = [np.empty(_BUFFER_BYTES, np.uint8) for _ in range(_THREADS)]
        self._threads = threads
        self._pending: deque[Future[tuple[int, int]]] = deque()
        self._info = zipfile.ZipInfo("nodes.npy")
        self._info.CRC = self._info.file_size = self._info.compress_size = 0
        self._info.header_offset = archive.start_dir
        self._start = archive.start_dir + out.write(self._info.FileHeader(zip64=True))
        self._end = self._start + out.write(self._header())
        out.flush()
        self._descriptor = _descriptor(out)

    def extend(self, nodes: npt.NDArray[Any]) -> None:
        """Add nodes, [nodes] or [messages, nodes]. A thread may read them after the return, so they must not change."""
        self.count += nodes.size
        if not nodes.size:
            return
        if nodes.strides[-1] != nodes.itemsize:
            nodes = np.ascontiguousarray(nodes)
        frames = nodes.view(np.uint8).reshape(-1, nodes.shape[-1] * nodes.itemsize)
        if self._descriptor is None or frames.size < _WRITTEN_BEHIND_BYTES:
            self._settle(0)
            self._add_crc(*self._write(frames, self._end))
        else:
            self._settle(_THREADS - 1)
            self._pending.append(self._threads.submit(self._write, frames, self._end))
        self._end += frames.size

    def close(self) -> None:
        """Write the length and the checksum, and add the member to the archive."""
        self._settle(0)
        header = self._header()
        info = self._info
        info.CRC = isal_zlib.crc32_combine(isal_zlib.crc32(header), self._crc, self.count * self.dtype.itemsize)
        info.file_size = info.compress_size = self._end - self._start
        self._out.seek(info.header_offset)
        self._out.write(info.FileHeader(zip64=True) + header)
        self._out.seek(self._end)
        self._archive.filelist.append(info)
        self._archive.NameToInfo[info.filename] = info
        self._archive.start_dir = self._end

    def _settle(self, most: int) -> None:
        """Wait until the threads have at most `most` pending writes."""
        while len(self._pending) > most:
            self._add_crc(*self._pending.popleft().result())

    def _add_crc(self, crc: int, length: int) -> None:
        self._crc = isal_zlib.crc32_combine(self._crc, crc, length)

    def _write(self, frames: npt.NDArray[np.uint8], position: int) -> tuple[int, int]:
        """Write frames, uint8 [frames, bytes], at a file position; return their CRC-32 and number of bytes."""
        crc = 0
        buffer = self._buffers.pop()
        for content in _gathered(frames, buffer):
            crc = isal_zlib.crc32(content, crc)
            if self._descriptor is None:
                self._out.write(content)
            else:
                written = 0
                while written < len(content):
                    written += os.pwrite(self._descriptor, content[written:], position + written)
                position += written
        self._buffers.append(buffer)
        return crc, frames.size

    def _header(self) -> bytes:
        """The npy header. Its length does not depend on the count, because numpy pads it."""
        return _npy_header(self.dtype, self.count)


def _gathered(frames: npt.NDArray[np.uint8], buffer: npt.NDArray[np.uint8]) -> Iterator[memoryview]:
    """The bytes of frames in order: large frames without a copy, small ones gathered in `buffer`."""
    frame_bytes = frames.shape[1]
    if frame_bytes >= _LARGE_FRAME_BYTES:
        for frame in frames:
            yield frame.data
        return
    at_once = len(buffer) // frame_bytes
    for first in range(0, len(frames), at_once):
        some = frames[first : first + at_once]
        np.copyto(buffer[: some.size].reshape(some.shape), some)
        yield buffer[: some.size].data


def _npy_header(dtype: np.dtype[Any], count: int) -> bytes:
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": (count,)})
    return header.getvalue()


class _Column:
    """A one-dimensional array that grows. Beyond one MiB it is in a temporary file."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115  # closed by __exit__
        self.count = 0

    def append(self, value: float) -> None:
        self.extend(np.array([value], self._dtype))

    def extend(self, values: npt.NDArray[Any]) -> None:
        self._file.write(values.astype(self._dtype, copy=False).tobytes())
        self.count += len(values)

    def write_npy(self, out: Any) -> None:
        out.write(_npy_header(self._dtype, self.count))
        self._file.seek(0)
        shutil.copyfileobj(self._file, out, _COPY_BYTES)

    def __enter__(self) -> _Column:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
