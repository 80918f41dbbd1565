"""The nodes of an update as the table formats write them, for every form of message."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vfctl.capture.timeline import DecodedRun, Item
from vfctl.protocol import FullGraph, PositionUpdate
from vfctl.protocol.deployed import ID_MASK, DeployedFrame

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class NodeRecords:
    """The nodes of one message, or of a run of them.

    Attributes:
        array: [nodes], or [messages, nodes] of a run: NODE_DTYPE, or the result of `split_flags`.
        form: `v4`, or the form of a deployed server.
        sequence: of a single message, if it has one.
        timestamp_us: of a single message, if it has one.
    """

    array: npt.NDArray[np.void]
    form: str = "v4"
    sequence: int | None = None
    timestamp_us: int | None = None

    def __len__(self) -> int:
        return self.array.size


def node_records(item: Item) -> NodeRecords | None:
    """The nodes of a message; None if it has no nodes."""
    if isinstance(item, DecodedRun):
        return NodeRecords(item.nodes)
    message = item.message
    if isinstance(message, PositionUpdate | FullGraph):
        trailer = message.trailer
        if trailer is None:
            return NodeRecords(message.nodes)
        return NodeRecords(message.nodes, "v4", trailer.sequence, trailer.timestamp_us)
    if isinstance(message, DeployedFrame):
        return NodeRecords(split_flags(message), message.form.value, message.sequence)
    return None


def split_flags(frame: DeployedFrame) -> npt.NDArray[np.void]:
    """The records with uint32 `id` and `flags`, which share a field on the wire, then the other fields."""
    records = frame.records
    names = records.dtype.names or ()
    fields: list[Any] = [("id", "<u4"), ("flags", "<u4"), *((name, records.dtype[name]) for name in names[1:])]
    split = np.empty(len(records), fields)
    split["id"] = records["id"] & np.uint32(ID_MASK)
    split["flags"] = records["id"] & np.uint32(0xFFFFFFFF ^ ID_MASK)
    for name in names[1:]:
        split[name] = records[name]
    return split


def warn_of_left_out(nodes: int, why: str) -> None:
    """Warn about nodes that a table has no columns for."""
    if nodes:
        log.warning("%d nodes of another form are left out: %s", nodes, why)
