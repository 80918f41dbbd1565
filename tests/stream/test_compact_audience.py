"""COMPACT as it is served: whoever skips, joins or filters decodes every frame that he gets, to half a step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.graph import Graph, build_graph
from vfctl.protocol import (
    EVERYTHING,
    NODE_DTYPE,
    CompactUpdate,
    Filter,
    FullGraph,
    History,
    Message,
    Nodes,
    PositionDecoder,
    PositionUpdate,
    Trailer,
    decode,
)
from vfctl.protocol.websocket import parse_frame_header
from vfctl.stream import Audience, Encoding, Scene, Variant

NODES = 130
GRAPH: Graph = build_graph(
    "test", [f"node {index}" for index in range(NODES)], [(0, 1, 1.0)], clusters=[index % 3 for index in range(NODES)]
)
FILTERS = (EVERYTHING, Filter(clusters=frozenset({1})), Filter(search="node 7"), Filter(search="nothing"))


class Layout:
    """Nodes that move smoothly, rest, or are thrown far away."""

    def __init__(self, speed: float = 1.0, acceleration: float = 0.1) -> None:
        self._acceleration = acceleration
        self._random = np.random.default_rng(7)
        self.nodes: Nodes = np.zeros(NODES, NODE_DTYPE)
        self.nodes["id"] = GRAPH.ids
        self._velocity = speed * self._random.normal(size=(3, NODES))
        for axis, name in enumerate("xyz"):
            self.nodes[name] = 300 * self._random.normal(size=NODES) + axis

    def step(self, throw: bool) -> Nodes:
        self._velocity += self._acceleration * self._random.normal(size=(3, NODES))
        nodes = self.nodes.copy()
        for axis, name in enumerate("xyz"):
            nodes[name] += self._velocity[axis].astype(np.float32)
        if throw:
            nodes["x"] *= np.float32(10)
        self.nodes = nodes
        return nodes


@dataclass
class Client:
    """One connection, as server and client see it."""

    audience: Audience
    history: History | None = None
    decoder: PositionDecoder = field(default_factory=PositionDecoder)


def unframe(framed: bytes) -> Message:
    header = parse_frame_header(framed)
    assert header is not None
    return decode(framed[header.header_length :])


def send_graph(client: Client, round_: int) -> None:
    message = unframe(client.audience.full_graph(round_, 1))
    assert isinstance(message, FullGraph)
    assert message.compressed
    client.decoder.decode(message)
    client.history = None


def serve(scene: Scene, client: Client, round_: int) -> None:
    framed, client.history = client.audience.compact_update(client.history, round_, 1)
    message = unframe(framed)
    assert isinstance(message, CompactUpdate)
    update = client.decoder.decode(message)
    assert isinstance(update, PositionUpdate)
    assert update.trailer == Trailer(round_, scene.timestamp_us, 1)
    assert update.settled == scene.settled
    expected = scene.visible_nodes(scene.subset(client.audience.variant.filter))
    assert update.nodes["id"].tolist() == expected["id"].tolist()
    grid = client.decoder.grid
    assert grid is not None
    for name in "xyz":
        error = np.abs(update.nodes[name].astype(np.float64) - expected[name])
        # Half a step, and what float32 rounds off.
        assert error.max(initial=0) <= grid.step / 2 + np.spacing(np.abs(expected[name]).max(initial=0))


STEPS = st.lists(
    st.tuples(st.sampled_from(["move", "move", "move", "rest", "throw", "filter", "join"]), st.integers(0, 2**32 - 1)),
    min_size=1,
    max_size=60,
)


@given(STEPS)
def test_whatever_is_skipped_filtered_or_joined_is_decoded(steps: list[tuple[str, int]]) -> None:
    layout = Layout()
    scene = Scene(GRAPH, layout.nodes, False, 1, chain=2**32 - 2)
    clients: list[Client] = []
    for round_, (what, bits) in enumerate([("join", 0), *steps]):
        match what:
            case "move" | "throw":
                scene.update(layout.step(what == "throw"), False, 1000 * round_)
            case "rest":
                scene.confirm(1000 * round_)
        if what == "join" and len(clients) < 6:
            clients.append(Client(scene.audience(Variant(Encoding.COMPACT, timed=True))))
            send_graph(clients[-1], round_)
        elif what == "filter":
            client = clients[bits % len(clients)]
            client.audience = scene.audience(client.audience.variant.with_filter(FILTERS[bits % len(FILTERS)]))
            send_graph(client, round_)
        for number, client in enumerate(clients):
            if not bits >> number & 1:  # else it is slow, and skips this round
                serve(scene, client, round_)


def test_those_who_are_in_step_share_their_bytes() -> None:
    layout = Layout()
    scene = Scene(GRAPH, layout.nodes, False, 1)
    audience = scene.audience(Variant(Encoding.COMPACT, timed=True))
    early, late = None, None
    for state in range(8):
        scene.update(layout.step(False), False, state)
        one, early = audience.compact_update(early, state, 1)
        if state >= 3:
            other, late = audience.compact_update(late, state, 1)
            if state > 3:
                assert other is one
                assert len(one) < NODES * 5


@pytest.mark.parametrize("encoding", list(Encoding))
def test_at_rest_a_compact_update_is_a_few_bytes(encoding: Encoding) -> None:
    scene = Scene(GRAPH, Layout().nodes, True, 1)
    audience = scene.audience(Variant(encoding, timed=True))
    if encoding is not Encoding.COMPACT:
        assert len(audience.position_update(1, 1)) > 100
        assert not audience.compact
        return
    key, history = audience.compact_update(None, 1, 1)
    scene.confirm(2)
    again, after = audience.compact_update(history, 2, 1)
    assert len(again) <= 60 < len(key)
    assert after == history
    assert audience.largest_update_bytes() == len(key)


def test_a_client_that_is_served_once_a_second_needs_no_key_frames() -> None:
    """60 states lie between its frames, and 120 between the two that the next one is predicted from."""
    layout = Layout(speed=0.05, acceleration=0.0001)
    scene = Scene(GRAPH, layout.nodes, False, 1)
    audience = scene.audience(Variant(Encoding.COMPACT))
    often = once = None
    sizes = []
    for state in range(60 * 6):
        scene.update(layout.step(False), False, state)
        _, often = audience.compact_update(often, state, 1)
        if state % 60 == 0:
            framed, once = audience.compact_update(once, state, 1)
            sizes.append(len(framed))
    assert max(sizes[1:]) < sizes[0] / 2
