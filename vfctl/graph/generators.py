"""Seeded graphs of any size, for tests and load runs: the same arguments give the same graph, byte for byte.

Random numbers come from `random.Random.random` only, because Python promises that its sequence never changes between
versions. numpy gives no such promise.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from random import Random

import numpy as np
import numpy.typing as npt

from vfctl.errors import UsageError
from vfctl.graph.analysis import adjacency, degrees, hops_from
from vfctl.graph.model import Graph, build_graph
from vfctl.protocol import NODE_DTYPE
from vfctl.protocol.wire import MAX_MESSAGE_BYTES

MAX_NODES = MAX_MESSAGE_BYTES // NODE_DTYPE.itemsize // 4
"""2.4 million. With three edges per node and labels these still fit one FullGraph."""

_HUBS = 8
_LINKS_OF_A_NEW_NODE = 2  # scale-free
_EDGES_PER_NODE = 3  # random
_GRID_PARTS = 3  # the clusters of a grid are around 3 × 3 nodes

Ends = npt.NDArray[np.int32]


def generate(generator: str, nodes: int, seed: int) -> Graph:
    """A connected graph of exactly `nodes` nodes, all weights 1.

    `scale-free` links every new node to two old ones, with a probability proportional to their degree
    (Barabási–Albert). `tree` links every new node to any old one as its parent. `grid` is the first nodes, row by row,
    of the smallest square that holds them; the seed changes nothing. `random` has about three edges per node.

    Depths are the hops from the root (tree, grid: node 0) or from the node of highest degree. Clusters are
    the branches below the root (tree), or the nodes nearest to one of eight hubs. The quarter of the nodes with the
    lowest depths is `class`. Of the rest every sixth is `property`, the others are `individual`.

    Args:
        generator: one of GENERATORS.
        seed: any integer.

    Raises:
        UsageError: the generator is unknown, or the number of nodes is out of range.
    """
    make = _GENERATORS.get(generator)
    if make is None:
        raise UsageError(f"unknown generator {generator!r}", hint=f"the generators are {', '.join(GENERATORS)}")
    if not 1 <= nodes <= MAX_NODES:
        raise UsageError(f"a graph of {nodes} nodes cannot be generated", hint=f"ask for 1 to {MAX_NODES} nodes")
    ends, root, hubs = make(nodes, Random(f"{generator} {seed}"))
    graph = adjacency(nodes, ends)
    depths, _ = hops_from(graph, [root])
    _, clusters = hops_from(graph, hubs)
    edges = np.ones((len(ends), 3), np.float64)
    edges[:, :2] = ends
    return build_graph(
        f"{generator}-{nodes}",
        [f"{generator} {node}" for node in range(nodes)],
        edges,
        kinds=_kinds(depths),
        depths=depths.tolist(),
        clusters=clusters.tolist(),
    )


def _scale_free(nodes: int, random: Random) -> tuple[Ends, int, list[int]]:
    draw = random.random
    ends: list[int] = [1, 0] if nodes > 1 else []  # source, target, source, target, …
    for node in range(2, nodes):
        # A node is in `ends` once for each of its edges, so a random entry is chosen in proportion to its degree.
        first = second = ends[int(draw() * len(ends))]
        while second == first:
            second = ends[int(draw() * len(ends))]
        ends += (node, first, node, second)
    pairs = _pairs(ends)
    hubs = _best_linked(nodes, pairs)
    return pairs, hubs[0], hubs


def _tree(nodes: int, random: Random) -> tuple[Ends, int, list[int]]:
    parents = [int(random.random() * node) for node in range(1, nodes)]
    pairs = np.stack([np.arange(1, nodes), np.array(parents, np.int64)], axis=1).astype(np.int32)
    # The root belongs to its first branch.
    branches = [node for node, parent in enumerate(parents, start=1) if parent == 0] or [0]
    return pairs, 0, branches


def _grid(nodes: int, _: Random) -> tuple[Ends, int, list[int]]:
    width = isqrt(nodes - 1) + 1
    index = np.arange(nodes)
    right = index[(index % width < width - 1) & (index + 1 < nodes)]
    below = index[index + width < nodes]
    pairs = np.concatenate([np.stack([right, right + 1], axis=1), np.stack([below, below + width], axis=1)])
    middles = [(2 * part + 1) * width // (2 * _GRID_PARTS) for part in range(_GRID_PARTS)]
    hubs = [row * width + column for row in middles for column in middles]
    return pairs.astype(np.int32), 0, sorted({min(hub, nodes - 1) for hub in hubs})


def _random(nodes: int, random: Random) -> tuple[Ends, int, list[int]]:
    draw = random.random
    # A random tree first, so the graph is connected, then edges between any two nodes. An edge is one number,
    # lower end × nodes + upper end, because that takes half the time and a third of the memory of a pair.
    seen = {int(draw() * node) * nodes + node for node in range(1, nodes)}
    wanted = min(_EDGES_PER_NODE * nodes, nodes * (nodes - 1) // 2)
    while len(seen) < wanted:
        one, other = int(draw() * nodes), int(draw() * nodes)
        if one < other:
            seen.add(one * nodes + other)
        elif other < one:
            seen.add(other * nodes + one)
    pairs = np.stack(np.divmod(np.array(sorted(seen), np.int64), nodes), axis=1).astype(np.int32)
    hubs = _best_linked(nodes, pairs)
    return pairs, hubs[0], hubs


_GENERATORS: dict[str, Callable[[int, Random], tuple[Ends, int, list[int]]]] = {
    "scale-free": _scale_free,
    "tree": _tree,
    "grid": _grid,
    "random": _random,
}
GENERATORS = tuple(_GENERATORS)
"""The names that `generate` accepts."""


def _pairs(ends: list[int]) -> Ends:
    return np.array(ends, np.int32).reshape(-1, 2)


def _best_linked(nodes: int, ends: Ends) -> list[int]:
    """The eight nodes of highest degree, the highest first."""
    hubs: list[int] = np.argsort(-degrees(nodes, ends), kind="stable")[:_HUBS].tolist()
    return hubs


def _kinds(depths: npt.NDArray[np.int32]) -> list[str]:
    order = np.argsort(depths, kind="stable")
    classes = (len(depths) + 3) // 4
    kinds = np.full(len(depths), "individual", dtype="<U10")
    kinds[order[:classes]] = "class"
    kinds[order[classes + 5 :: 6]] = "property"
    return [str(kind) for kind in kinds]
