"""CSV: one row for each node of every FullGraph and PositionUpdate."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import BinaryIO, Final

from vfctl.capture.exporters.as_json import float32_texts
from vfctl.capture.timeline import DecodedMessage
from vfctl.protocol import CompactUpdate, FullGraph, PositionUpdate, describe

log = logging.getLogger(__name__)

COLUMNS: Final = ("message", "time_s", "type", "sequence", "timestamp_us", "id", "x", "y", "z", "vx", "vy", "vz")
"""`message` counts all messages of the recording from 0; `sequence` and `timestamp_us` are empty if not TIMED."""

_FLOATS: Final = ("x", "y", "z", "vx", "vy", "vz")


def write_csv(messages: Iterator[DecodedMessage], out: BinaryIO) -> None:
    """A header, then the rows. Nothing in them needs quotes; what is not finite reads nan, inf or -inf."""
    out.write(",".join(COLUMNS).encode() + b"\n")
    compact_count = 0
    for item in messages:
        if isinstance(item.message, FullGraph | PositionUpdate):
            out.write(_rows(item, item.message).encode())
        compact_count += isinstance(item.message, CompactUpdate)
    warn_of_compact(compact_count)


def warn_of_compact(count: int) -> None:
    """Say how many updates an export had to leave out."""
    if count:
        log.warning("%d COMPACT updates are left out: their positions cannot be decoded", count)


def _rows(item: DecodedMessage, message: FullGraph | PositionUpdate) -> str:
    name, _ = describe(message)
    trailer = message.trailer
    times = f"{trailer.sequence},{trailer.timestamp_us}" if trailer else ","
    start = f"{item.number},{item.time_s:.6f},{name},{times},"
    columns = [map(str, message.nodes["id"].tolist()), *(float32_texts(message.nodes[axis]) for axis in _FLOATS)]
    return "".join(f"{start}{','.join(row)}\n" for row in zip(*columns, strict=True))
