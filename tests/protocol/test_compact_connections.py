"""Connections that skip, join, filter and reconnect: each decodes all that it gets, exactly, from bytes."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.errors import ProtocolError
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    FullGraph,
    PositionDecoder,
    PositionUpdate,
    Trailer,
    View,
    decode,
    encode,
    positions_of,
)

NO_EDGES = np.zeros(0, EDGE_DTYPE)


def nodes_at(positions: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """NODE_DTYPE [nodes] from float32 [3, nodes]."""
    nodes = np.zeros(len(ids), NODE_DTYPE)
    nodes["id"] = ids
    nodes["x"], nodes["y"], nodes["z"] = positions
    return nodes


class Layout:
    """Nodes that fly on, with what happens in real layouts: forces, rest, drags, growth, and what should not."""

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self.random = random
        self.ids = random.permutation(10 * count)[:count].astype(np.uint32)
        self.positions = random.normal(0, 100, (3, count)).astype(np.float32)
        self.velocities = random.normal(0, 1, (3, count)).astype(np.float32)

    def move(self, ticks: int, event: str) -> None:
        count = self.positions.shape[1]
        node = int(self.random.integers(count))
        match event:
            case "rest":
                self.velocities[:] = 0
            case "force":
                self.velocities += self.random.normal(0, 0.3, (3, count)).astype(np.float32)
            case "drag":
                self.positions[:, node] = self.random.normal(0, 1e5, 3)
            case "grow":
                self.positions *= np.float32(1.7)
            case "shrink":
                self.positions *= np.float32(0.4)
            case "jump":
                self.positions = self.random.normal(0, 100, (3, count)).astype(np.float32)
            case "break":
                self.positions[self.random.integers(3), node] = self.random.choice([math.nan, math.inf, -math.inf])
        self.positions = self.positions + np.float32(ticks) * self.velocities


class Connection:
    """A client as a server sees it, and the decoder at its other end."""

    def __init__(self, layout: Layout, filters: list[np.ndarray | None]) -> None:
        self.layout = layout
        self.filters = filters
        self.decoder = PositionDecoder()
        self.views = [View(self._ids(which), which) for which in filters]
        self.watch(0)

    def _ids(self, indices: np.ndarray | None) -> np.ndarray:
        return self.layout.ids if indices is None else self.layout.ids[indices]

    def _seen(self, whole: np.ndarray) -> np.ndarray:
        indices = self.filters[self.filter]
        return whole if indices is None else whole[:, indices]

    def watch(self, which: int) -> None:
        """Join, or change the filter: a FullGraph, and nothing is known any more."""
        self.filter, self.history = which, None
        nodes = nodes_at(self._seen(self.layout.positions), self._ids(self.filters[which]))
        graph = decode(encode(FullGraph(nodes, NO_EDGES, compressed=True)))
        assert self.decoder.decode(graph) is graph

    def reconnect(self) -> None:
        self.decoder = PositionDecoder()
        self.watch(self.filter)

    def serve(self, encoder: CompactEncoder, view: View) -> bytes:
        section, self.history = encoder.section(view, self.history)
        trailer = Trailer(encoder.position, 2, 3)
        received = decode(encode(CompactUpdate(view.count, section, True, trailer)))
        update = self.decoder.decode(received)
        assert isinstance(update, PositionUpdate)
        assert (update.settled, update.trailer, update.compact) == (True, trailer, True)
        assert np.array_equal(update.nodes["id"], self._ids(self.filters[self.filter]))
        expected = self._seen(encoder.grid.dequantise(encoder.grid.quantise(self.layout.positions)))
        assert np.array_equal(positions_of(update.nodes), expected, equal_nan=True)
        assert not update.nodes["vx"].any()
        finite = np.isfinite(expected)
        error = np.abs(expected[finite] - self._seen(self.layout.positions)[finite])
        assert (error <= encoder.grid.step / 2 + np.spacing(np.abs(expected[finite]))).all()
        return section


EVENTS = ["fly"] * 6 + ["force"] * 6 + ["rest"] * 2 + ["drag", "grow", "shrink", "jump", "break"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 150), st.integers(0, 2**32 - 1), st.integers(3, 8), st.integers(1, 4))
def test_whatever_a_connection_misses_it_decodes_what_it_gets(count, seed, kept_states, max_histories):
    random = np.random.default_rng(seed)
    layout = Layout(count, random)
    filters = [None, np.flatnonzero(random.random(count) < 0.5), np.zeros(0, np.int64)]
    views = [View(layout.ids if which is None else layout.ids[which], which) for which in filters]
    encoder = CompactEncoder(int(random.integers(2**32)), kept_states=kept_states, max_histories=max_histories)
    connections = [Connection(layout, filters) for _ in range(4)]
    position = 0
    for _ in range(40):
        event = str(random.choice(EVENTS))
        if event != "rest" or layout.velocities.any():  # at rest there are no new states
            ticks = int(random.choice([1, 2, 3, 3, 3, 4, 50]))
            layout.move(ticks, event)
            position += ticks
        encoder.push(position, layout.positions)
        for connection in connections:
            match int(random.integers(12)):
                case 0:
                    connection.watch(int(random.integers(3)))
                case 1:
                    connection.reconnect()
                case 2 | 3 | 4:
                    continue  # skips this round
            connection.serve(encoder, views[connection.filter])


def flying(count: int = 500, seed: int = 0) -> tuple[Layout, View]:
    layout = Layout(count, np.random.default_rng(seed))
    return layout, View(layout.ids)


def test_equal_histories_share_one_section_and_a_joiner_is_of_the_group_at_once():
    layout, view = flying()
    encoder = CompactEncoder()
    group = [Connection(layout, [None]) for _ in range(3)]
    for position in range(0, 12, 3):
        layout.move(3, "force")
        encoder.push(position, layout.positions)
        assert len({id(each.serve(encoder, view)) for each in group}) == 1
    joiner = Connection(layout, [None])
    layout.move(3, "force")
    encoder.push(12, layout.positions)
    key, residual = joiner.serve(encoder, view), group[0].serve(encoder, view)
    assert len(residual) < len(key) / 2
    assert group[1].serve(encoder, view) is residual
    assert joiner.history == group[0].history == (0, 9, 12)
    assert (encoder.key_frames, encoder.residual_frames) == (2, 4)


def test_skipping_needs_no_key_frame_as_long_as_the_states_are_remembered():
    layout, view = flying()
    encoder = CompactEncoder(kept_states=8)
    slow = Connection(layout, [None])
    for position in range(40):
        layout.move(1, "force")
        encoder.push(position, layout.positions)
        if position in (0, 3, 9, 16, 30):
            slow.serve(encoder, view)
    assert slow.history == (0, 23, 30)  # 16 was forgotten; rounds were 7 long when that was last seen
    assert encoder.key_frames == 2
    assert encoder.residual_frames == 3


def test_too_many_different_histories_get_the_one_key_frame():
    layout, view = flying()
    encoder = CompactEncoder(max_histories=2)
    connections = [Connection(layout, [None]) for _ in range(5)]
    for position in range(6):
        layout.move(1, "force")
        encoder.push(position, layout.positions)
        for connection in connections if position == 5 else connections[position : position + 1]:
            connection.serve(encoder, view)
    assert encoder.residual_frames == 2
    assert encoder.key_frames == 6  # one when each joined, and one more for three of them
    assert {connection.history for connection in connections} == {(0, 0, 5), (0, 1, 5)}


def test_a_layout_at_rest_costs_sixteen_bytes():
    layout, view = flying(10_000)
    encoder = CompactEncoder()
    connection = Connection(layout, [None])
    layout.move(0, "rest")
    for position in (1, 4, 7, 7, 7):
        encoder.push(position, layout.positions)
        section = connection.serve(encoder, view)
    assert len(section) == 16
    assert connection.history == (0, 4, 7)


def test_constant_velocity_costs_the_noise_of_the_grid_alone_however_uneven_the_rounds():
    layout, view = flying(10_000)
    layout.velocities *= 3
    encoder = CompactEncoder()
    connection = Connection(layout, [None])
    position = 0
    for ticks in (3, 3, 4, 2, 3, 6, 3, 5):
        layout.move(ticks, "fly")
        position += ticks
        encoder.push(position, layout.positions)
        section = connection.serve(encoder, view)
    assert len(section) < 1.2 * 10_000


def test_a_thousand_frames_do_not_drift():
    layout, view = flying(50)
    encoder = CompactEncoder()
    connection = Connection(layout, [None])
    for position in range(1000):
        layout.velocities *= np.float32(0.99)
        layout.move(1, "fly")
        encoder.push(position, layout.positions)
        connection.serve(encoder, view)  # compares every position, and its error with step/2
    assert encoder.key_frames <= 2


def test_a_stall_is_no_reason_to_believe_an_old_velocity():
    layout, view = flying(1000)
    encoder = CompactEncoder()
    connection = Connection(layout, [None])
    for position in (0, 1):
        layout.move(1, "fly")
        encoder.push(position, layout.positions)
        connection.serve(encoder, view)
    layout.move(0, "rest")
    encoder.push(100, layout.positions)
    assert len(connection.serve(encoder, view)) == 16


def test_another_grid_is_another_chain_and_a_key_frame_for_all():
    layout, view = flying()
    encoder = CompactEncoder(2**32 - 1)
    connection = Connection(layout, [None])
    for position, event in enumerate(["fly", "fly", "grow", "fly"]):
        layout.move(1, event)
        encoder.push(position, layout.positions)
        connection.serve(encoder, view)
    assert encoder.key_frames == 2
    assert connection.history == (0, 2, 3)


def test_numbers_that_go_back_and_other_nodes_are_refused():
    layout, _ = flying(10)
    encoder = CompactEncoder()
    encoder.push(5, layout.positions)
    for position in (4, 2**32):
        with pytest.raises(ValueError, match="a higher number"):
            encoder.push(position, layout.positions)
    with pytest.raises(ValueError, match="use another encoder"):
        encoder.push(6, layout.positions[:, :9])
    with pytest.raises(ValueError, match="ids for"):
        View(layout.ids, np.arange(3))


def test_frames_of_others_are_refused_and_change_nothing():
    layout, view = flying(200)
    half = np.arange(0, 200, 2)
    other_half = View(layout.ids[half + 1], half + 1)
    encoder, other_server = CompactEncoder(1), CompactEncoder(2)
    connection = Connection(layout, [None, half])
    sections = []
    for position in range(6):
        layout.move(1, "force")
        encoder.push(position, layout.positions)
        other_server.push(position, layout.positions)
        sections.append(connection.serve(encoder, view))
    _, history = other_server.section(view, None)
    other_server.push(6, layout.positions)
    layout.move(1, "force")
    encoder.push(7, layout.positions)
    foreign = {
        "of another server": (other_server.section(view, history)[0], 200, "chain 2, but chain 1"),
        "again": (sections[-1], 200, "predicted from state 4, the last received is 5"),
        "out of order": (sections[-2], 200, "predicted from state 3, the last received is 5"),
        "of another filter": (encoder.section(other_half, None)[0], 100, "100 nodes, expected the 200"),
    }
    for section, count, message in foreign.values():
        with pytest.raises(ProtocolError, match=message):
            connection.decoder.decode(CompactUpdate(count, section))
    connection.serve(encoder, view)
    connection.watch(1)
    with pytest.raises(ProtocolError, match="a damaged COMPACT section, or one for other nodes"):
        connection.decoder.decode(CompactUpdate(100, encoder.section(other_half, None)[0]))
    section, _ = encoder.section(View(layout.ids[half], half), history._replace(chain=1))
    with pytest.raises(ProtocolError, match="but none has begun"):
        connection.decoder.decode(CompactUpdate(100, section))


def test_without_a_graph_there_are_no_nodes():
    with pytest.raises(ProtocolError, match="before any FullGraph"):
        PositionDecoder().decode(CompactUpdate(0, bytes(16)))


def test_all_else_goes_through_as_it_is():
    decoder = PositionDecoder()
    layout, _ = flying(3)
    for message in (PositionUpdate(nodes_at(layout.positions, layout.ids)), decode(b"\x04\x03\0\0\x07\0\0\0")):
        assert decoder.decode(message) is message
    assert decoder.grid is None


def test_what_was_made_for_a_view_goes_with_it() -> None:
    """At rest no new state comes that would clear it, and clients may change filters as often as they like."""
    ids = np.arange(2000, dtype=np.uint32)
    encoder, random = CompactEncoder(), np.random.default_rng(1)
    for position in range(2):
        encoder.push(position, random.normal(0, 100, (3, len(ids))).astype(np.float32))
    tracemalloc.start()
    try:
        for count in range(1000, 1200):
            view = View(ids[:count], np.arange(count))
            _, history = encoder.section(view, None)
            encoder.section(view, history)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500_000
