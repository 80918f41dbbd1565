"""The messages of V4 as dataclasses. Arrays are views of the bytes that they were decoded from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from vfctl.protocol.filter import Filter
from vfctl.protocol.wire import NO_FLAGS, Flag, MessageType

Nodes = npt.NDArray[np.void]
"""NODE_DTYPE [nodes]: u32 `id`, float32 `x y z vx vy vz`."""

Edges = npt.NDArray[np.void]
"""EDGE_DTYPE [edges]: u32 `source` and `target` (node ids), float32 `weight`."""


@dataclass(frozen=True, slots=True)
class Trailer:
    """The trailer of 20 bytes of a TIMED message.

    Attributes:
        sequence: number of the interval, counted per gateway (for VoiceData: of the message in its stream).
        timestamp_us: unix time in µs at which the state was valid.
        interval_us: µs until the next update of this connection; 0 if unknown.
    """

    sequence: int
    timestamp_us: int
    interval_us: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """The columns that METADATA adds to a FullGraph, with one entry per node, in node order.

    Attributes:
        label: the node's name, str [nodes].
        kind: `class`, `individual`, `property` or `other`, str [nodes].
        depth: level in the hierarchy, roots are 0, int [nodes].
        cluster: community number, int [nodes].
    """

    label: tuple[str, ...]
    kind: tuple[str, ...]
    depth: tuple[int, ...]
    cluster: tuple[int, ...]


class _ByContent:
    """Equality for messages with arrays: by their bytes, so that NaN equals itself."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(
            _same(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
        )

    __hash__ = None  # type: ignore[assignment]  # arrays do not hash


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)


@dataclass(frozen=True, slots=True, eq=False)
class FullGraph(_ByContent):
    """All nodes and edges that match the filter of a connection. It is the first message of every connection.

    Attributes:
        nodes: NODE_DTYPE [nodes].
        edges: EDGE_DTYPE [edges].
        metadata: labels, kinds, depths and clusters, if requested.
        trailer: present if TIMED.
        compressed: encoded as an LZ4 block.
    """

    nodes: Nodes
    edges: Edges
    metadata: Metadata | None = None
    trailer: Trailer | None = None
    compressed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PositionUpdate(_ByContent):
    """Positions and velocities of the nodes that match the filter of a connection.

    Attributes:
        nodes: NODE_DTYPE [nodes].
        settled: the layout is stable; frames now come at the stable interval.
        trailer: present if TIMED.
        compressed: encoded as an LZ4 block.
        compact: a `PositionDecoder` made it of a COMPACT section. Positions are exact to half a step, velocities are 0.
    """

    nodes: Nodes
    settled: bool = False
    trailer: Trailer | None = None
    compressed: bool = False
    compact: bool = False


@dataclass(frozen=True, slots=True)
class CompactUpdate:
    """A PositionUpdate in the COMPACT encoding. A `PositionDecoder` decodes its section.

    Attributes:
        count: number of nodes.
        section: the bytes between the length field and the trailer.
        settled: as for PositionUpdate.
        trailer: present if TIMED.
    """

    count: int
    section: bytes
    settled: bool = False
    trailer: Trailer | None = None


@dataclass(frozen=True, slots=True)
class NodeSelect:
    """A click on a node; None clears the selection."""

    node_id: int | None


@dataclass(frozen=True, slots=True)
class NodeDrag:
    """A node held at a position until `final`, or until 500 ms after the last drag."""

    node_id: int
    x: float
    y: float
    z: float
    final: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat. With `responder_timestamp_us` it is the reply (FINAL) and echoes `timestamp_us`.

    Attributes:
        timestamp_us: unix time in µs at the sender of the request.
        responder_timestamp_us: unix time in µs at the replier.
    """

    timestamp_us: int
    responder_timestamp_us: int | None = None


@dataclass(frozen=True, slots=True)
class FilterUpdate:
    """The filter of the connection from now on. The server answers with the FullGraph of the subset."""

    filter: Filter


@dataclass(frozen=True, slots=True, eq=False)
class VoiceData(_ByContent):
    """A piece of voice.

    Attributes:
        stream: 0 from a client; the server sets the number of the speaker.
        sample_rate_hz: samples a second.
        samples: int16 [samples], PCM mono.
        trailer: present if TIMED; its sequence counts the messages of the stream.
    """

    stream: int
    sample_rate_hz: int
    samples: npt.NDArray[np.int16]
    trailer: Trailer | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice of the server: an error, a selection, …; `body["notice"]` has its kind."""

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reserved:
    """A message of a reserved type. It is carried as bytes and otherwise ignored."""

    type_id: int
    payload: bytes


Message = (
    FullGraph
    | PositionUpdate
    | CompactUpdate
    | NodeSelect
    | NodeDrag
    | Heartbeat
    | FilterUpdate
    | VoiceData
    | Notice
    | Reserved
)


def describe(message: Message) -> tuple[str, Flag]:
    """The V4 name of a message's type (`Reserved` for reserved ones), and its flags."""
    flags = NO_FLAGS
    if isinstance(message, Heartbeat):
        flags |= Flag.FINAL if message.responder_timestamp_us is not None else NO_FLAGS
    if isinstance(message, NodeDrag) and message.final:
        flags |= Flag.FINAL
    if isinstance(message, FullGraph | PositionUpdate) and message.compressed:
        flags |= Flag.COMPRESSED
    if isinstance(message, CompactUpdate) or (isinstance(message, PositionUpdate) and message.compact):
        flags |= Flag.COMPACT
    if isinstance(message, FullGraph) and message.metadata is not None:
        flags |= Flag.METADATA
    if isinstance(message, PositionUpdate | CompactUpdate) and message.settled:
        flags |= Flag.SETTLED
    if isinstance(message, FullGraph | PositionUpdate | CompactUpdate | VoiceData) and message.trailer:
        flags |= Flag.TIMED
    name = "PositionUpdate" if isinstance(message, CompactUpdate) else type(message).__name__
    return name, flags


TYPE_IDS: dict[type, MessageType] = {
    FullGraph: MessageType.FULL_GRAPH,
    PositionUpdate: MessageType.POSITION_UPDATE,
    CompactUpdate: MessageType.POSITION_UPDATE,
    NodeSelect: MessageType.NODE_SELECT,
    NodeDrag: MessageType.NODE_DRAG,
    Heartbeat: MessageType.HEARTBEAT,
    FilterUpdate: MessageType.FILTER_UPDATE,
    VoiceData: MessageType.VOICE_DATA,
    Notice: MessageType.NOTICE,
}
"""The type byte of each message class except Reserved, which has its own."""
