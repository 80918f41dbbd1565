"""The encodings on real layouts, from the first step of the physics to rest, and the variants that were weighed.

    python benchmarks/encodings.py [--nodes N]

Layouts are sampled 20 times a second. First table: whole messages as `vfctl bandwidth` measures them, and FullGraph
with METADATA; exit code 1 if a bar is missed. Second: predictors, as bytes a node and frame of the same packing.
Third: packings of the same residuals, bytes a node and median µs to encode and decode.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import NamedTuple

import lz4.block
import numpy as np

from vfctl.capture.encodings import EncodingComparison, SampledState
from vfctl.graph import Graph
from vfctl.graph.generators import generate
from vfctl.graph.model import build_graph
from vfctl.physics import PhysicsOrchestrator
from vfctl.protocol import Grid, encode, packing, positions_of
from vfctl.protocol.compact import extrapolate

ANY_SIZE = 10**9
BARS = {"lz4": 0.85, "compact": 0.06}
BYTES_PER_NODE = {"moving": 1.2, "at rest": 0.2}
MAX_MS = 1.0


def ontology(nodes: int) -> Graph:
    """As ontologies are: a quarter classes in a tree that prefers shallow parents, the rest individuals of any class,
    and for each second node a property to one of its own branch, or now and then to any other."""
    random = Random("ontology")
    classes = nodes // 4
    parents = [0, 0]
    parents += [min(int(random.random() * node), int(random.random() * node)) for node in range(2, classes)]
    parents += [int(random.random() * classes) for _ in range(classes, nodes)]
    edges = [(node, parents[node], 1.0) for node in range(1, nodes)]
    for _ in range(nodes // 2):
        one = int(random.random() * nodes)
        siblings = parents[one]
        other = siblings if random.random() < 0.8 and siblings != one else int(random.random() * nodes)
        other = parents[other] if parents[other] != one else other
        if other != one:
            edges.append((one, other, 1.0))
    depths = [0] * nodes
    for node in range(1, nodes):
        depths[node] = depths[parents[node]] + 1
    kinds = ["class" if node < classes else "individual" for node in range(nodes)]
    return build_graph("ontology", [f"Concept {node}" for node in range(nodes)], edges, kinds=kinds, depths=depths)


class Layout(NamedTuple):
    """What the physics made of a graph.

    Attributes:
        nodes: NODE_DTYPE [ticks, nodes], 60 a second, from the first step to rest.
        graph_share: bytes of a FullGraph with METADATA as COMPRESSED, of those without; half way.
    """

    name: str
    nodes: np.ndarray
    graph_share: float


def laid_out(graph: Graph, name: str) -> Layout:
    """The states of a layout, every tick."""
    orchestrator = PhysicsOrchestrator(graph, seed=1)
    states = [orchestrator.position_update(0).nodes]
    share = 0.0
    while not orchestrator.settled and len(states) < 5000:
        update = orchestrator.tick(len(states) * 1_000_000 // 60)
        if update is not None:
            states.append(update.nodes)
        if len(states) == 200:
            full = orchestrator.full_graph(0)
            share = len(encode(replace(full, compressed=True))) / len(encode(full))
    return Layout(name, np.stack(states), share)


def median_us(work: Callable[[], object], repeats: int = 9) -> float:
    times = []
    for _ in range(repeats):
        start_ns = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start_ns) / 1000)
    return statistics.median(times)


# The first table.


def whole_messages(layout: Layout) -> bool:
    """Every encoding on the whole layout; whether all bars hold."""
    comparison = EncodingComparison()
    for tick in range(0, len(layout.nodes), 3):
        comparison.add(SampledState(tick / 60, layout.nodes[tick], False))
    for frame in range(20):
        comparison.add(SampledState(len(layout.nodes) / 60 + frame, layout.nodes[-1], True))
    holds = True
    figures = comparison.to_json()
    for phase, uses in figures["phases"].items():
        phase = phase.replace("_", " ")
        for name, use in uses.items():
            steps = 1 / use["worst_error_of_extent"] if use["worst_error_of_extent"] else 0
            print(
                f"| {layout.name} | {phase} | {name} | {use['bytes_per_node']:.3f} | {use['of_raw']:.4f} "
                f"| {use['bytes_per_s'] / 1000:,.1f} | {use['encode_ms']:.2f} / {use['decode_ms']:.2f} "
                f"| {f'1/{steps:,.0f} of the extent' if steps else 'exact'} |"
            )
        holds &= all(uses[name]["of_raw"] <= bar for name, bar in BARS.items())
        holds &= uses["compact"]["bytes_per_node"] <= BYTES_PER_NODE[phase]
        holds &= max(uses["compact"]["encode_ms"], uses["compact"]["decode_ms"]) <= MAX_MS
        holds &= uses["compact"]["worst_error_of_extent"] <= 1 / 8192
    rest = figures["phases"]["at_rest"]["lz4"]["of_raw"]
    graph_ok = rest <= 0.7 and layout.graph_share <= 0.85
    print(f"| {layout.name} | half way | FullGraph with METADATA, lz4 | | {layout.graph_share:.4f} | | | |")
    return holds and graph_ok


# Predictors: what is left over, packed the same way.


def quantised(layout: Layout) -> np.ndarray:
    """int32 [ticks, 3, nodes], on the grid of the last state."""
    grid = Grid.covering(positions_of(layout.nodes[-1]))
    return np.stack([grid.quantise(positions_of(nodes)) for nodes in layout.nodes])


def predictors(states: np.ndarray) -> Iterator[tuple[str, float]]:
    """Name and mean bytes a node, at 20 frames a second or in the uneven rounds that the name says."""
    count = states.shape[2]

    def mean(predict: Callable[[int], np.ndarray], back: int = 3, first: int = 9) -> float:
        sizes = [
            len(packing.pack(states[tick] - predict(tick), ANY_SIZE) or b"")
            for tick in range(max(first, back), len(states), 6)
        ]
        return statistics.fmean(sizes) / count

    def last(tick: int, frames: int) -> np.ndarray:
        return states[tick - 3 * frames]

    def quiet(tick: int) -> np.ndarray:
        moved = last(tick, 1) - last(tick, 2)
        return last(tick, 1) + np.where(np.abs(moved).sum(axis=0) <= 1, 0, moved)

    yield "none: the position itself", mean(lambda tick: states[tick].mean(axis=1, keepdims=True).astype(np.int32))
    yield "difference to a key frame of 1 s before", mean(lambda tick: states[max(0, tick - 60)])
    yield "standing still", mean(lambda tick: last(tick, 1))
    yield "constant velocity", mean(lambda tick: 2 * last(tick, 1) - last(tick, 2))
    for eighths in (7, 6):
        yield (
            f"velocity damped by {eighths}/8",
            mean(lambda tick, eighths=eighths: last(tick, 1) + ((last(tick, 1) - last(tick, 2)) * eighths + 4 >> 3)),
        )
    yield "constant velocity, a node that moved by one step stands still", mean(quiet)
    yield (
        "line through three states",
        mean(lambda tick: (4 * last(tick, 1) + last(tick, 2) - 2 * last(tick, 3) + 1) // 3),
    )
    yield "parabola through three states", mean(lambda tick: 3 * last(tick, 1) - 3 * last(tick, 2) + last(tick, 3))
    for span, back in ((3, 4), (4, 3), (2, 4), (4, 2), (3, 6), (6, 3)):
        yield (
            f"rounds of {span}, then {back} ticks: velocity as measured",
            mean(lambda tick, s=span, b=back: 2 * states[tick - b] - states[tick - b - s], back, span + back),
        )
        yield (
            f"rounds of {span}, then {back} ticks: velocity × {back}/{span}",
            mean(
                lambda tick, s=span, b=back: extrapolate(states[tick - b - s], states[tick - b], s, b),
                back,
                span + back,
            ),
        )


# Packings of the same residuals.

Packing = tuple[Callable[[np.ndarray], bytes], Callable[[bytes, int], np.ndarray] | None]


def zigzag(values: np.ndarray) -> np.ndarray:
    return (values << 1) ^ (values >> 31)


def widths_of(blocks: np.ndarray) -> np.ndarray:
    return np.frexp(blocks.max(axis=-1).astype(np.float64))[1]


def in_blocks(values: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((3, -(-values.shape[1] // size) * size), np.int32)
    padded[:, : values.shape[1]] = zigzag(values)
    return padded.reshape(-1, size)


def pack_fixed(values: np.ndarray, size: int) -> bytes:
    """A width a block and axis, as many bits for each value."""
    blocks = in_blocks(values, size)
    widths = widths_of(blocks)
    parts = [
        ((blocks[widths > plane] >> plane) & 1).astype(np.uint8).ravel() for plane in range(int(widths.max(initial=0)))
    ]
    bits = np.packbits(np.concatenate(parts)) if parts else np.zeros(0, np.uint8)
    nibbles = np.zeros(len(widths) + len(widths) % 2, np.uint8)
    nibbles[: len(widths)] = np.minimum(widths, 15)
    return (nibbles[::2] | nibbles[1::2] << 4).tobytes() + bits.tobytes()


def unpack_fixed(packed: bytes, count: int, size: int) -> np.ndarray:
    rows = 3 * -(-count // size)
    nibbles = np.frombuffer(packed, np.uint8, (rows + 1) // 2)
    widths = np.stack([nibbles & 15, nibbles >> 4], axis=1).ravel()[:rows]
    bits = np.unpackbits(np.frombuffer(packed, np.uint8, offset=(rows + 1) // 2))
    blocks, at = np.zeros((rows, size), np.int32), 0
    for plane in range(int(widths.max(initial=0))):
        chosen = widths > plane
        length = int(np.count_nonzero(chosen)) * size
        blocks[chosen] |= bits[at : at + length].reshape(-1, size).astype(np.int32) << plane
        at += length
    values = blocks.reshape(3, -1)[:, :count]
    return (values >> 1) ^ -(values & 1)


def patched_bytes(values: np.ndarray, size: int) -> bytes:
    """PFOR: the best width for most, exceptions as (place, rest). Bytes of the right number, not the real ones."""
    blocks = in_blocks(values, size)
    full = widths_of(blocks)
    place_bits = np.log2(size)
    costs = [
        width * size + ((blocks >> width) > 0).sum(axis=1) * (place_bits + np.maximum(full - width, 0)) + 16
        for width in range(int(full.max(initial=0)) + 1)
    ]
    return bytes(int(np.ceil(np.where(full == 0, 4, np.min(costs, axis=0)).sum() / 8)))


def byte_planes(values: np.ndarray) -> bytes:
    plain = zigzag(values)
    return (plain & 255).astype(np.uint8).tobytes() + (plain >> 8).astype(np.uint8).tobytes()


def from_planes(planes: bytes, count: int) -> np.ndarray:
    low, high = np.frombuffer(planes, np.uint8).reshape(2, 3, count).astype(np.int32)
    plain = low | high << 8
    return (plain >> 1) ^ -(plain & 1)


def rice(values: np.ndarray, size: int = 64) -> bytes:
    packing.BLOCK_NODES = size
    try:
        return packing.pack(values, ANY_SIZE) or b""
    finally:
        packing.BLOCK_NODES = 64


def unrice(packed: bytes, count: int, size: int = 64) -> np.ndarray:
    packing.BLOCK_NODES = size
    try:
        return packing.unpack(packed, count, offset=0)
    finally:
        packing.BLOCK_NODES = 64


def entropy_bytes(values: np.ndarray) -> float:
    """Of each axis by itself, order zero, without the table of frequencies: no code for single values gets below."""
    total = 0.0
    for row in values:
        counts = np.unique(row, return_counts=True)[1]
        shares = counts / counts.sum()
        total -= (shares * np.log2(shares)).sum() * len(row) / 8
    return total


PACKINGS: dict[str, Packing] = {
    "bits, blocks of 32 and axis": (lambda v: pack_fixed(v, 32), lambda p, n: unpack_fixed(p, n, 32)),
    "bits, blocks of 64 and axis": (lambda v: pack_fixed(v, 64), lambda p, n: unpack_fixed(p, n, 64)),
    "bits, blocks of 128 and axis": (lambda v: pack_fixed(v, 128), lambda p, n: unpack_fixed(p, n, 128)),
    "bits of 64, then LZ4": (
        lambda v: lz4.block.compress(pack_fixed(v, 64), store_size=True),
        lambda p, n: unpack_fixed(lz4.block.decompress(p), n, 64),
    ),
    "patched bits (PFOR), blocks of 64": (lambda v: patched_bytes(v, 64), None),
    "patched bits (PFOR), blocks of 128": (lambda v: patched_bytes(v, 128), None),
    "byte planes, LZ4": (
        lambda v: lz4.block.compress(byte_planes(v)),
        lambda p, n: from_planes(lz4.block.decompress(p), n),
    ),
    "byte planes, LZ4 HC": (
        lambda v: lz4.block.compress(byte_planes(v), mode="high_compression"),
        lambda p, n: from_planes(lz4.block.decompress(p), n),
    ),
    "byte planes, zlib 1": (
        lambda v: zlib.compress(byte_planes(v), 1),
        lambda p, n: from_planes(zlib.decompress(p), n),
    ),
    "byte planes, zlib 6": (
        lambda v: zlib.compress(byte_planes(v), 6),
        lambda p, n: from_planes(zlib.decompress(p), n),
    ),
    "Rice, blocks of 32": (lambda v: rice(v, 32), lambda p, n: unrice(p, n, 32)),
    "Rice, blocks of 64": (rice, unrice),
    "Rice, blocks of 128": (lambda v: rice(v, 128), lambda p, n: unrice(p, n, 128)),
}


def packings(states: np.ndarray) -> Iterator[tuple[str, float, float, float]]:
    """Name, mean bytes a node, median µs to encode and to decode."""
    count = states.shape[2]
    ticks = range(6, len(states), 12)
    residuals = [states[tick] - 2 * states[tick - 3] + states[tick - 6] for tick in ticks]
    for name, (pack, unpack) in PACKINGS.items():
        packed = [pack(residual) for residual in residuals]
        size = statistics.fmean(len(each) for each in packed) / count
        encode_us = statistics.fmean(median_us(partial(pack, each), 3) for each in residuals)
        decode_us = 0.0
        if unpack is not None:
            for residual, each in zip(residuals, packed, strict=True):
                assert np.array_equal(unpack(each, count), residual), name
            decode_us = statistics.fmean(median_us(partial(unpack, each, count), 3) for each in packed)
        yield name, size, encode_us, decode_us
    by_speed = []
    for tick in ticks:
        moved = np.abs(states[tick - 3] - states[tick - 6]).sum(axis=0)
        order = np.argsort(255 - np.minimum(moved, 255).astype(np.uint8), kind="stable")
        by_speed.append(len(rice((states[tick] - 2 * states[tick - 3] + states[tick - 6])[:, order])))
    yield "Rice, blocks of 64, nodes sorted by speed", statistics.fmean(by_speed) / count, 0, 0
    yield "entropy of single values", statistics.fmean(entropy_bytes(each) for each in residuals) / count, 0, 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=10_000)
    options = parser.parse_args()
    graphs = {
        "scale-free": generate("scale-free", options.nodes, 1),
        "tree": generate("tree", options.nodes, 1),
        "ontology": ontology(options.nodes),
    }
    layouts = [laid_out(graph, name) for name, graph in graphs.items()]
    print("| layout | | encoding | bytes a node | of raw | kB/s at 20 Hz | ms to encode / decode | error |")
    print("|---|---|---|---|---|---|---|---|")
    holds = [whole_messages(layout) for layout in layouts]
    states = [quantised(layout) for layout in layouts]
    print(f"\n| predictor: bytes a node | {' | '.join(graphs)} |\n|---|{'---|' * len(graphs)}")
    for rows in zip(*(predictors(each) for each in states), strict=True):
        print(f"| {rows[0][0]} | {' | '.join(f'{size:.3f}' for _, size in rows)} |")
    print(f"\n| packing: bytes a node | {' | '.join(graphs)} | µs to encode | µs to decode |")
    print(f"|---|{'---|' * (len(graphs) + 2)}")
    for variants in zip(*(packings(each) for each in states), strict=True):
        encode_us, decode_us = (statistics.fmean(row[column] for row in variants) for column in (2, 3))
        times = " | ".join(f"{us:.0f}" if us else "" for us in (encode_us, decode_us))
        print(f"| {variants[0][0]} | {' | '.join(f'{row[1]:.3f}' for row in variants)} | {times} |")
    if not all(holds):
        print("\na bar is missed")
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
