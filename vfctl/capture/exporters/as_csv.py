"""CSV: one row per node of every FullGraph, PositionUpdate and frame of a deployed server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import orjson

from vfctl.capture.exporters.records import node_records, warn_of_left_out
from vfctl.capture.timeline import DecodedMessage, DecodedRun, Item, type_name_of
from vfctl.protocol import NODE_DTYPE

FRAME_COLUMNS: Final = ("message", "time_s", "type", "connection", "sequence", "timestamp_us")
"""`message` is the index of the message in the recording, from 0. `sequence` and `timestamp_us` may be empty."""


def write_csv(items: Iterator[Item], out: BinaryIO) -> None:
    """Write a header, then the rows. No value needs quotes. Values that are not finite read nan, inf or -inf.

    The columns are those of the first update: NODE_DTYPE, or the fields of a deployed server's nodes. Later nodes of
    another form are left out, with a warning.
    """
    names: tuple[str, ...] | None = None
    others = 0
    for item in items:
        records = node_records(item)
        if records is None:
            continue
        if names is None:
            names = records.array.dtype.names or ()
            _write_header(out, names)
        if records.array.dtype.names != names:
            others += len(records)
            continue
        if isinstance(item, DecodedRun):
            out.writelines(_rows(start, nodes) for start, nodes in zip(_run_starts(item), item.nodes, strict=True))
        else:
            out.write(_rows(_start(item, records.sequence, records.timestamp_us), records.array))
    if names is None:
        _write_header(out, NODE_DTYPE.names or ())
    warn_of_left_out(others, "they have other columns; --type chooses")


def _write_header(out: BinaryIO, names: tuple[str, ...]) -> None:
    out.write(",".join((*FRAME_COLUMNS, *names)).encode() + b"\n")


def _start(item: DecodedMessage, sequence: int | None, timestamp_us: int | None) -> bytes:
    times = f"{'' if sequence is None else sequence},{'' if timestamp_us is None else timestamp_us}"
    return f"{item.number},{item.time_s:.6f},{type_name_of(item.message)},{item.connection},{times},".encode()


def _run_starts(run: DecodedRun) -> Iterator[bytes]:
    times: Iterable[str] = repeat(",", len(run))
    if run.trailers is not None:
        times = (f"{sequence},{timestamp_us}" for sequence, timestamp_us, _ in run.trailers.tolist())
    for number, time_s, trailer in zip(run.numbers.tolist(), run.times_s.tolist(), times, strict=True):
        yield f"{number},{time_s:.6f},PositionUpdate,{run.connection},{trailer},".encode()


def _rows(start: bytes, nodes: npt.NDArray[np.void]) -> bytes:
    """The lines of one message, each beginning with `start`."""
    if not len(nodes):
        return b""
    columns = _fast_columns(nodes) or [_texts(nodes[name]) for name in nodes.dtype.names or ()]
    between: list[Iterable[bytes]] = [repeat(start)]
    for column in columns:
        between += (column, repeat(b","))
    between[-1] = repeat(b"\n")
    return b"".join(chain.from_iterable(zip(*between)))  # noqa: B905  # repeat() has no end


def _fast_columns(nodes: npt.NDArray[np.void]) -> list[list[bytes]] | None:
    """The ids, and the six floats of each V4 node as one text. None if the nodes are not V4 or not finite."""
    if nodes.dtype != NODE_DTYPE:
        return None
    floats = np.ascontiguousarray(np.ascontiguousarray(nodes).view("<f4").reshape(len(nodes), -1)[:, 1:])
    if not np.isfinite(floats).all():
        return None
    lines = orjson.dumps(floats, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
    return [_texts(nodes["id"]), lines]


def _texts(values: npt.NDArray[Any]) -> list[bytes]:
    """Each number as text. A float32 has the fewest digits that round-trip."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return [str(value).encode() for value in values]
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
