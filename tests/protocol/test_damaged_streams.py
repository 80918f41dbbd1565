"""Damaged messages in streams of all encodings: a few thousand here, a million with benchmarks/mutations.py."""

from __future__ import annotations

import importlib.util
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from vfctl.errors import ProtocolError
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    FullGraph,
    PositionDecoder,
    View,
    decode,
    encode,
)

REPOSITORY = Path(__file__).parent.parent.parent


def test_they_are_decoded_or_refused_and_nothing_else():
    spec = importlib.util.spec_from_file_location("mutations", REPOSITORY / "benchmarks" / "mutations.py")
    mutations = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mutations)
    counts = mutations.run(5_000, seed=1)
    assert sum(counts.values()) > 4_500
    for kind in mutations.KINDS:
        assert counts[kind, "refused"] > 50
    assert counts["sealed", "decoded"] > 10, "damage behind a right CRC-32 has to reach the values"


def started(count: int) -> tuple[PositionDecoder, CompactEncoder, View]:
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["id"] = range(count)
    decoder = PositionDecoder()
    decoder.decode(FullGraph(nodes, np.zeros(0, EDGE_DTYPE)))
    return decoder, CompactEncoder(), View(nodes["id"])


def flipped(section: bytes, at: int) -> bytes:
    return section[:at] + bytes((section[at] ^ 1 << at % 8,)) + section[at + 1 :]


def test_every_cut_flip_and_swap_of_a_chain_is_a_protocol_error_and_costs_only_itself():
    random = np.random.default_rng(2)
    decoder, encoder, view = started(70)
    positions = random.normal(0, 100, (3, 70)).astype(np.float32)
    history, chain = None, []
    for position in range(4):
        positions += random.normal(0, 1, (3, 70)).astype(np.float32)
        encoder.push(position, positions)
        section, history = encoder.section(view, history)
        chain.append(section)
    for number, section in enumerate(chain):
        damaged = [section[:length] for length in range(len(section))]
        damaged += [flipped(section, at) for at in range(len(section))]
        damaged += [other for place, other in enumerate(chain) if place not in (0, number)]
        for each in damaged:
            with pytest.raises(ProtocolError):
                decoder.decode(CompactUpdate(70, each))
        assert decoder.decode(decode(encode(CompactUpdate(70, section)))).compact


def test_a_section_takes_memory_in_proportion_to_the_nodes_there_are():
    decoder, encoder, view = started(1000)
    for count, section in (
        (9_000_000, bytes(64)),  # far more nodes than the graph has
        (1000, bytes(10_000_000)),  # far more bytes than 1,000 nodes can need
        (1000, bytes(64 + 32_000)),  # as many as they can
    ):
        tracemalloc.start()
        with pytest.raises(ProtocolError):
            decoder.decode(CompactUpdate(count, section))
        assert tracemalloc.get_traced_memory()[1] < 100_000
        tracemalloc.stop()
    encoder.push(0, np.random.default_rng(0).normal(0, 1, (3, 1000)).astype(np.float32))
    section, _ = encoder.section(view, None)
    tracemalloc.start()
    decoder.decode(CompactUpdate(1000, section))
    assert tracemalloc.get_traced_memory()[1] < 400 * 1000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("what", "positions"),
    [
        ("corners of the box", np.float32(2.0) ** 20 * np.sign(np.random.default_rng(0).normal(size=(3, 3000)))),
        ("half of it nowhere", np.where(np.arange(9000).reshape(3, 3000) % 2, np.nan, 1.0)),
        ("all nowhere", np.full((3, 3000), np.inf)),
        ("two far clusters", np.repeat([[0.0, 3.4e38]], 1500, axis=1).repeat(3, axis=0)),
        ("stragglers of all magnitudes", 10.0 ** np.random.default_rng(0).uniform(-30, 30, (3, 3000))),
    ],
)
def test_there_is_no_layout_that_does_not_fit(what, positions):
    decoder, encoder, view = started(3000)
    history = None
    for number, layout in enumerate([positions, positions[:, ::-1], -positions, np.zeros_like(positions), positions]):
        encoder.push(number, layout.astype(np.float32))
        section, history = encoder.section(view, history)
        update = decoder.decode(decode(encode(CompactUpdate(3000, section))))
        expected = encoder.grid.dequantise(encoder.grid.quantise(layout.astype(np.float32)))
        assert np.array_equal(update.nodes["x"], expected[0], equal_nan=True), what
