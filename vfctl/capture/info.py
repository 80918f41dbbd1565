"""Summary of a recording: `vfctl capture info`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from vfctl.capture.losses import Loss
from vfctl.capture.message import CapturedMessage, Direction, Form, flags_of
from vfctl.capture.reader import Capture, Format, open_capture
from vfctl.capture.timeline import TimedMessage, in_recording, timeline, type_of
from vfctl.errors import ProtocolError, VfctlError
from vfctl.protocol import Flag, FullGraph, MessageType, decode
from vfctl.protocol.deployed import decode_deployed
from vfctl.protocol.wire import U32


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """Sums over one connection of a recording.

    Attributes:
        number: within the file.
        about: addresses or URL, if the file has them.
        from_server: number of messages from the server.
        from_client: number of messages from the client.
    """

    number: int
    about: str
    from_server: int
    from_client: int


@dataclass(frozen=True, slots=True)
class CaptureInfo:
    """Sums over a recording.

    Attributes:
        format: `mcap`, `v4`, `pcap`, ….
        description: the format in words.
        messages: number of messages.
        counts: number of messages by type name, most frequent first.
        encodings: number of PositionUpdates by encoding (`raw`, `lz4`, `compact`, or the deployed form).
        bytes: total length of the messages, without the container.
        duration_s: from the first message to the last.
        updates_per_s: PositionUpdates per second between the first and the last one; None with fewer than two.
        began_ns: unix time in ns at which the first message arrived; None if the file does not have it.
        nodes: of the first FullGraph, else of the first PositionUpdate; None without either.
        edges: of the first FullGraph; None without one.
        connections: all connections with messages.
        metadata: key and value pairs that the recorder stored.
        notes: what was left out although it is not damaged.
        losses: what could not be read.
        damage: the error for the losses; None without any. The sums are over what is intact.
    """

    format: Format
    description: str
    messages: int
    counts: dict[str, int]
    encodings: dict[str, int]
    bytes: int
    duration_s: float
    updates_per_s: float | None
    began_ns: int | None
    nodes: int | None
    edges: int | None
    connections: tuple[ConnectionInfo, ...]
    metadata: dict[str, str]
    notes: tuple[str, ...]
    losses: tuple[Loss, ...]
    damage: VfctlError | None


def summarize(path: str | Path, stdin: BinaryIO | None = None) -> CaptureInfo:
    """Read a recording once; the arguments are those of `open_capture`.

    Raises:
        InputError: the file cannot be opened.
        CaptureError: it is empty, or of no format that is known.
    """
    with open_capture(path, stdin) as capture:
        return summary_of(capture)


def summary_of(capture: Capture, on_offset: Callable[[int], None] | None = None) -> CaptureInfo:
    """As `summarize`, for a recording that is open.

    Args:
        on_offset: called with the byte offset in the file, message by message.
    """
    sums = _Sums()
    damage: VfctlError | None = None
    try:
        for timed in timeline(capture):
            sums.add(timed)
            if on_offset:
                on_offset(timed.captured.offset)
    except VfctlError as error:
        damage = error
    return CaptureInfo(
        format=capture.format,
        description=capture.description,
        messages=sums.counts.total(),
        counts=dict(sums.counts.most_common()),
        encodings=dict(sums.encodings.most_common()),
        bytes=sums.bytes,
        duration_s=sums.latest_s,
        updates_per_s=sums.updates_per_s,
        began_ns=sums.began_ns,
        nodes=sums.nodes,
        edges=sums.edges,
        connections=sums.connections(capture.connections),
        metadata=dict(capture.metadata),
        notes=tuple(capture.notes),
        losses=tuple(capture.losses),
        damage=sums.damage or damage,
    )


def encoding_of(captured: CapturedMessage) -> str | None:
    """Encoding of the positions of a message: `raw`, `lz4`, `compact`, or a deployed form; None if it is no update."""
    if captured.form is not Form.V4:
        return captured.form.value
    if captured.payload[1] != MessageType.POSITION_UPDATE:
        return None
    flags = flags_of(captured.payload)
    return "compact" if Flag.COMPACT in flags else "lz4" if Flag.COMPRESSED in flags else "raw"


@dataclass(slots=True)
class _Sums:
    counts: Counter[str] = field(default_factory=Counter)
    encodings: Counter[str] = field(default_factory=Counter)
    senders: Counter[tuple[int, Direction]] = field(default_factory=Counter)
    bytes: int = 0
    latest_s: float = 0.0
    began_ns: int | None = None
    edges: int | None = None
    damage: VfctlError | None = None
    _nodes_of_graph: int | None = None
    _nodes_of_update: int | None = None
    _updates_s: tuple[float, float] | None = None

    def add(self, timed: TimedMessage) -> None:
        captured = timed.captured
        self.counts[type_of(captured)] += 1
        self.senders[captured.connection, captured.direction] += 1
        self.bytes += len(captured.payload)
        self.latest_s = max(self.latest_s, timed.time_s)
        if self.began_ns is None:
            self.began_ns = captured.arrival_ns
        encoding = encoding_of(captured)
        if encoding:
            self.encodings[encoding] += 1
            first_s = self._updates_s[0] if self._updates_s else timed.time_s
            self._updates_s = (first_s, timed.time_s)
            if self._nodes_of_update is None:
                self._nodes_of_update = _node_count(captured)
        elif captured.payload[1] == MessageType.FULL_GRAPH and self._nodes_of_graph is None:
            self._add_graph(timed)

    def _add_graph(self, timed: TimedMessage) -> None:
        try:
            message = decode(timed.captured.payload)
        except ProtocolError as error:
            self.damage = self.damage or in_recording(error, timed)
            return
        assert isinstance(message, FullGraph)
        self._nodes_of_graph, self.edges = len(message.nodes), len(message.edges)

    @property
    def nodes(self) -> int | None:
        return self._nodes_of_update if self._nodes_of_graph is None else self._nodes_of_graph

    @property
    def updates_per_s(self) -> float | None:
        if self._updates_s is None or self._updates_s[1] <= self._updates_s[0]:
            return None
        return (self.encodings.total() - 1) / (self._updates_s[1] - self._updates_s[0])

    def connections(self, about: dict[int, str]) -> tuple[ConnectionInfo, ...]:
        numbers = sorted({number for number, _ in self.senders})
        return tuple(
            ConnectionInfo(
                number,
                about.get(number, ""),
                self.senders[number, Direction.SERVER],
                self.senders[number, Direction.CLIENT],
            )
            for number in numbers
        )


def _node_count(captured: CapturedMessage) -> int:
    if captured.form is not Form.V4:
        return len(decode_deployed(captured.payload).records)
    return int(U32.unpack_from(captured.payload, 4)[0])
