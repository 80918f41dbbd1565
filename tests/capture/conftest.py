"""Messages and recordings that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from vfctl.capture import CapturedMessage, open_writer
from vfctl.errors import VfctlError
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    Filter,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    Message,
    Metadata,
    NodeDrag,
    Nodes,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    Trailer,
    View,
    VoiceData,
    encode,
)

START_NS = 1_700_000_000_000_000_000
TICK_NS = 50_000_000


@pytest.fixture
def read_all() -> Callable[[Iterable[CapturedMessage]], tuple[list[bytes], VfctlError | None]]:
    """read_all(capture): every payload, and the error that ended it."""

    def read(capture: Iterable[CapturedMessage]) -> tuple[list[bytes], VfctlError | None]:
        payloads: list[bytes] = []
        try:
            for captured in capture:
                payloads.append(captured.payload)  # noqa: PERF401  # a comprehension would lose them with the error
        except VfctlError as error:
            return payloads, error
        return payloads, None

    return read


@pytest.fixture
def make_nodes() -> Callable[..., Nodes]:
    """nodes(x, ids=…): all at (x, 0.5, 0.1) with velocity (1, 0, 0)."""

    def make(x: float, ids: Sequence[int] = (7, 3, 9)) -> Nodes:
        nodes = np.zeros(len(ids), NODE_DTYPE)
        nodes["id"] = ids
        nodes["x"], nodes["y"], nodes["z"], nodes["vx"] = x, 0.5, 0.1, 1
        return nodes

    return make


@pytest.fixture
def graph_message(make_nodes: Callable[..., Nodes]) -> FullGraph:
    """Three nodes, two edges, METADATA, untimed."""
    edges = np.array([(7, 3, 0.3), (3, 9, 1)], EDGE_DTYPE)
    metadata = Metadata(("Sieben", "Drei", "Neun ü"), ("class", "class", "individual"), (0, 1, 1), (0, 0, 1))
    return FullGraph(make_nodes(0), edges, metadata)


@pytest.fixture
def every_message(graph_message: FullGraph, make_nodes: Callable[..., Nodes]) -> list[Message]:
    """One of each type, a PositionUpdate of each encoding that carries nodes."""
    voice = np.array([0, 1, -1, 300], np.int16)
    return [
        graph_message,
        PositionUpdate(make_nodes(1), trailer=Trailer(1, 1_700_000_000_050_000, 50_000)),
        PositionUpdate(make_nodes(2), True, Trailer(2, 1_700_000_000_100_000, 50_000), compressed=True),
        NodeSelect(7),
        NodeSelect(None),
        NodeDrag(3, 0.1, -2.5, 1e-9, final=True),
        Heartbeat(123),
        Heartbeat(123, 456),
        FilterUpdate(Filter(kinds=frozenset({"class"}), depth=(0, 3), search="ü")),
        VoiceData(5, 16_000, voice, Trailer(1, 1_700_000_000_150_000, 0)),
        Notice({"notice": "selection", "node_id": 7}),
        Reserved(0x0A, b"future"),
    ]


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """record(messages, name): write messages (or raw payloads), 50 ms apart unless `times_s` says otherwise."""

    def write(
        messages: Sequence[Message | bytes], name: str = "recording.mcap", times_s: Sequence[float] | None = None
    ) -> Path:
        path = tmp_path / name
        with open_writer(path, metadata={"url": "ws://test/ws"}, overwrite=True) as writer:
            for number, message in enumerate(messages):
                after_ns = round(times_s[number] * 1e9) if times_s else number * TICK_NS
                writer.write(message if isinstance(message, bytes) else encode(message), START_NS + after_ns)
        return path

    return write


@pytest.fixture
def compact_payloads() -> Callable[[FullGraph, Sequence[Nodes]], list[bytes]]:
    """compact_payloads(graph, states): the FullGraph, then each state as a COMPACT update of one chain."""

    def make(graph: FullGraph, states: Sequence[Nodes]) -> list[bytes]:
        encoder, view, history = CompactEncoder(), View(graph.nodes["id"]), None
        payloads = [encode(graph)]
        for position, nodes in enumerate(states):
            encoder.push(position, np.stack([nodes[axis] for axis in "xyz"]))
            section, history = encoder.section(view, history)
            payloads.append(encode(CompactUpdate(len(nodes), section)))
        return payloads

    return make
