"""What is in a recording, at a glance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vfctl.capture.captured import type_name
from vfctl.capture.reader import Format, open_capture
from vfctl.capture.timeline import TimedMessage, in_recording, timeline
from vfctl.errors import ProtocolError, VfctlError
from vfctl.protocol import FullGraph, MessageType, decode
from vfctl.protocol.wire import U32


@dataclass(frozen=True, slots=True)
class CaptureInfo:
    """Sums over a recording.

    Attributes:
        format: `mcap` or `v4`.
        messages: how many there are.
        counts: how many of each type, by its name, most frequent first.
        bytes: of all messages together, without what the container adds.
        duration_s: from the first message to the last.
        nodes: of the first FullGraph, else of the first PositionUpdate; None without either.
        edges: of the first FullGraph; None without one.
        metadata: what the recorder noted.
        damage: what is wrong with the recording, if anything is; the sums are over what is intact.
    """

    format: Format
    messages: int
    counts: dict[str, int]
    bytes: int
    duration_s: float
    nodes: int | None
    edges: int | None
    metadata: dict[str, str]
    damage: VfctlError | None


def summarize(path: str | Path, stdin: BinaryIO | None = None) -> CaptureInfo:
    """Read a recording through once; the arguments are those of `open_capture`.

    Raises:
        InputError: the file cannot be opened.
        CaptureError: it is empty, or of no format that is known.
    """
    counts: Counter[str] = Counter()
    byte_count = 0
    latest_s = 0.0
    nodes_of_update: int | None = None
    graph: FullGraph | None = None
    damage: VfctlError | None = None
    with open_capture(path, stdin) as capture:
        try:
            for timed in timeline(capture):
                payload = timed.captured.payload
                counts[type_name(payload)] += 1
                byte_count += len(payload)
                latest_s = max(latest_s, timed.time_s)
                if payload[1] == MessageType.FULL_GRAPH and graph is None:
                    try:
                        graph = _decode_graph(timed)
                    except ProtocolError as error:
                        damage = damage or error
                elif payload[1] == MessageType.POSITION_UPDATE and nodes_of_update is None:
                    (nodes_of_update,) = U32.unpack_from(payload, 4)
        except VfctlError as error:
            damage = damage or error
    return CaptureInfo(
        format=capture.format,
        messages=counts.total(),
        counts=dict(counts.most_common()),
        bytes=byte_count,
        duration_s=latest_s,
        nodes=len(graph.nodes) if graph else nodes_of_update,
        edges=len(graph.edges) if graph else None,
        metadata=capture.metadata,
        damage=damage,
    )


def _decode_graph(timed: TimedMessage) -> FullGraph:
    try:
        message = decode(timed.captured.payload)
    except ProtocolError as error:
        raise in_recording(error, timed) from None
    assert isinstance(message, FullGraph)
    return message
