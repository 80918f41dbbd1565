"""NPZ: the PositionUpdates as columns, for `numpy.load`."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from vfctl.capture.exporters.as_csv import warn_of_compact
from vfctl.capture.timeline import DecodedMessage
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, CompactUpdate, FullGraph, PositionUpdate

ABSENT: Final = -1
"""`sequence` and `timestamp_us` of an update that is not TIMED (or whose value is beyond int64)."""

_MAX_INT64: Final = 2**63 - 1
_COPY_BYTES: Final = 2**20


def write_npz(messages: Iterator[DecodedMessage], out: BinaryIO) -> None:
    """Columns with one entry a PositionUpdate, and the nodes of them all.

    `time_s` float64, `sequence` and `timestamp_us` int64 [frames]; `offsets` int64 [frames + 1], so that
    `nodes[offsets[i]:offsets[i + 1]]` (NODE_DTYPE) is frame i; `edges` EDGE_DTYPE of the first FullGraph.
    The columns gather in temporary files, since an array's length stands in front of it.
    """
    with ExitStack() as stack:
        columns = {
            name: stack.enter_context(_Column(dtype))
            for name, dtype in (
                ("time_s", np.dtype("<f8")),
                ("sequence", np.dtype("<i8")),
                ("timestamp_us", np.dtype("<i8")),
                ("offsets", np.dtype("<i8")),
                ("nodes", NODE_DTYPE),
                ("edges", EDGE_DTYPE),
            )
        }
        columns["offsets"].append(0)
        warn_of_compact(_gather(messages, columns))
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            for name, column in columns.items():
                # Without a date, so that the same recording always gives the same file.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    column.write_npy(member)


def _gather(messages: Iterator[DecodedMessage], columns: dict[str, _Column]) -> int:
    """Fill the columns; how many COMPACT updates there were."""
    compact_count = 0
    graph_seen = False
    for item in messages:
        message = item.message
        if isinstance(message, PositionUpdate):
            trailer = message.trailer
            columns["time_s"].append(item.time_s)
            columns["sequence"].append(_int64(trailer.sequence) if trailer else ABSENT)
            columns["timestamp_us"].append(_int64(trailer.timestamp_us) if trailer else ABSENT)
            columns["nodes"].extend(message.nodes)
            columns["offsets"].append(columns["nodes"].count)
        elif isinstance(message, FullGraph) and not graph_seen:
            columns["edges"].extend(message.edges)
            graph_seen = True
        compact_count += isinstance(message, CompactUpdate)
    return compact_count


def _int64(value: int) -> int:
    return value if value <= _MAX_INT64 else ABSENT


class _Column:
    """A one-dimensional array that grows in a temporary file."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        self.count = 0

    def append(self, value: float) -> None:
        self.extend(np.array([value], self._dtype))

    def extend(self, values: npt.NDArray[Any]) -> None:
        self._file.write(values.tobytes())
        self.count += len(values)

    def write_npy(self, out: Any) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(out, header)
        self._file.seek(0)
        shutil.copyfileobj(self._file, out, _COPY_BYTES)

    def __enter__(self) -> _Column:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
