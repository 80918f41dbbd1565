"""Parquet: the rows of the CSV as typed columns, in row groups of bounded size."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from vfctl.capture.exporters.records import node_records, warn_of_left_out
from vfctl.capture.timeline import DecodedMessage, DecodedRun, Item, type_name_of
from vfctl.errors import MissingError
from vfctl.protocol import NODE_DTYPE

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_ROWS: Final = 2**17
"""Rows that are kept in memory until they are written: 8 MB of V4 nodes."""

_BATCH_BYTES: Final = 2**20
"""A run is converted in parts of this size, so that the columns of a part take little memory."""


def check_parquet() -> None:
    """Check early that pyarrow is installed.

    Raises:
        MissingError: it is not.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingError("Parquet needs pyarrow, which is not installed", hint="pip install 'vfctl[parquet]'")


def write_parquet(items: Iterator[Item], out: BinaryIO) -> None:
    """Write one row per node, with the columns of `write_csv`. `sequence` and `timestamp_us` may be null.

    Raises:
        MissingError: pyarrow is not installed.
    """
    check_parquet()
    import pyarrow as pa

    group: _RowGroup | None = None
    others = 0
    # A file of pyarrow itself would close `out`.
    with pa.PythonFile(_Unclosed(out), "w") as sink:
        for item in items:
            records = node_records(item)
            if records is None:
                continue
            group = group or _RowGroup(sink, records.array.dtype)
            if records.array.dtype != group.dtype:
                others += len(records)
                continue
            for part in item.split(_BATCH_BYTES) if isinstance(item, DecodedRun) else (item,):
                group.add(part)
        (group or _RowGroup(sink, NODE_DTYPE)).close()
    warn_of_left_out(others, "they have other columns; --type chooses")


class _RowGroup:
    def __init__(self, sink: Any, dtype: np.dtype[Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.dtype = dtype
        self._names = dtype.names or ()
        self._schema = pa.schema(
            [
                pa.field("message", pa.int64(), nullable=False),
                pa.field("time_s", pa.float64(), nullable=False),
                pa.field("type", pa.dictionary(pa.int32(), pa.string()), nullable=False),
                pa.field("connection", pa.uint32(), nullable=False),
                pa.field("sequence", pa.uint64()),
                pa.field("timestamp_us", pa.uint64()),
                *(pa.field(name, pa.from_numpy_dtype(dtype[name]), nullable=False) for name in self._names),
            ]
        )
        # Positions hardly ever repeat, so a dictionary of them would be discarded.
        repeated = ["message", "time_s", "type", "connection", "sequence", "timestamp_us", "id"]
        self._writer = pq.ParquetWriter(sink, self._schema, compression="zstd", use_dictionary=repeated)
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, item: Item) -> None:
        """Add the nodes of one message, or of a run of them."""
        import pyarrow as pa

        records = node_records(item)
        assert records is not None
        frames, each = records.array.shape if records.array.ndim == 2 else (1, len(records.array))
        if isinstance(item, DecodedRun):
            numbers, times_s, name, connection = item.numbers, item.times_s, "PositionUpdate", item.connection
            trailers = None if item.trailers is None else (item.trailers["sequence"], item.trailers["timestamp_us"])
        else:
            numbers, times_s = np.array([item.number]), np.array([item.time_s])
            name, connection = type_name_of(item.message), item.connection
            trailers = None
        rows = frames * each
        nulls = pa.nulls(rows, pa.uint64())
        if trailers is not None:
            sequence, timestamp_us = (pa.array(np.repeat(column, each)) for column in trailers)
        elif isinstance(item, DecodedMessage):
            sequence, timestamp_us = (
                nulls if value is None else pa.array(np.full(rows, value, np.uint64))
                for value in (records.sequence, records.timestamp_us)
            )
        else:
            sequence = timestamp_us = nulls
        names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([name]))
        columns = [
            pa.array(np.repeat(numbers, each)),
            pa.array(np.repeat(times_s, each)),
            names,
            pa.array(np.full(rows, connection, np.uint32)),
            sequence,
            timestamp_us,
            *(pa.array(np.ascontiguousarray(records.array[name]).reshape(-1)) for name in self._names),
        ]
        self._batches.append(pa.record_batch(columns, schema=self._schema))
        self._rows += rows
        if self._rows >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write the rest and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._batches:
            table = pa.Table.from_batches(self._batches, self._schema)
            self._writer.write_table(table, row_group_size=self._rows)
        self._batches.clear()
        self._rows = 0


class _Unclosed:
    """A stream that is not closed with the Parquet file."""

    closed = False

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._position = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._out.write(view)
        self._position += len(view)
        return len(view)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        """Do nothing, because the caller closes the stream."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
