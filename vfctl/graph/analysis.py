"""Hop distances: depths, nearest hubs and components are all one breadth-first search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def hops_from(
    count: int, ends: npt.NDArray[np.int32], sources: Sequence[int]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """How far each node is from the nearest source, and which source that is; edges are taken in both directions.

    Args:
        count: number of nodes.
        ends: int32 [edges, 2], node indices.
        sources: distinct node indices; of two equally near ones the earlier wins.

    Returns:
        (distances, nearest): int32 [nodes] each; hops to the nearest source, and its place in `sources`.
        Both are -1 where no source can be reached.
    """
    neighbours, starts = _adjacency(count, ends)
    distances = [-1] * count
    nearest = [-1] * count
    for place, source in enumerate(sources):
        distances[source], nearest[source] = 0, place
    # Plain lists, not arrays by level: a chain of 100,000 nodes has as many levels, and costs no more than a star.
    queue = list(sources)
    for node in queue:
        further, place = distances[node] + 1, nearest[node]
        for neighbour in neighbours[starts[node] : starts[node + 1]]:
            if distances[neighbour] < 0:
                distances[neighbour], nearest[neighbour] = further, place
                queue.append(neighbour)
    return np.array(distances, np.int32), np.array(nearest, np.int32)


def components(count: int, ends: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Which connected component each node is in, int32 [nodes], numbered by their first node."""
    neighbours, starts = _adjacency(count, ends)
    numbers = [-1] * count
    found = 0
    for first in range(count):
        if numbers[first] >= 0:
            continue
        numbers[first] = found
        queue = [first]
        for node in queue:
            for neighbour in neighbours[starts[node] : starts[node + 1]]:
                if numbers[neighbour] < 0:
                    numbers[neighbour] = found
                    queue.append(neighbour)
        found += 1
    return np.array(numbers, np.int32)


def degrees(count: int, ends: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Edges per node, int64 [nodes]."""
    return np.bincount(ends.ravel(), minlength=count)


def _adjacency(count: int, ends: npt.NDArray[np.int32]) -> tuple[list[int], list[int]]:
    """The neighbours of all nodes one after the other, and where those of each node start (one entry more)."""
    both = np.concatenate([ends, ends[:, ::-1]])
    order = np.argsort(both[:, 0], kind="stable")
    starts = np.searchsorted(both[order, 0], np.arange(count + 1))
    return both[order, 1].tolist(), starts.tolist()


LOUVAIN_MAX_EDGES = 10_000
"""Up to here Louvain takes a second or two at worst (scale-free graphs are the worst); twice the edges take four
times as long, and a server that starts should not wait half a minute for colours."""

_SEED = 4
_MAX_HUBS = 32


def find_communities(
    count: int, ends: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.int32]:
    """A community number for each node, the largest community first; the same graph always gets the same ones.

    Louvain by networkx up to LOUVAIN_MAX_EDGES edges. Larger graphs are parted by the nearest of up to 32
    well-linked nodes, none next to another: coarser, but linear in time.

    Args:
        count: number of nodes.
        ends: int32 [edges, 2], node indices.
        weights: float32 [edges].

    Returns:
        int32 [nodes].
    """
    if len(ends) <= LOUVAIN_MAX_EDGES:
        return _by_size(_louvain(count, ends, weights))
    return _by_size(_nearest_hubs(count, ends))


def _louvain(count: int, ends: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    import networkx  # a fifth of a second, and most graphs bring their clusters

    graph = networkx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_weighted_edges_from(zip(*ends.T.tolist(), weights.tolist(), strict=True))
    numbers = np.zeros(count, np.int32)
    for number, members in enumerate(networkx.community.louvain_communities(graph, seed=_SEED)):
        numbers[list(members)] = number
    return numbers


def _nearest_hubs(count: int, ends: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    neighbours: dict[int, set[int]] = {}
    candidates = np.argsort(-degrees(count, ends), kind="stable")[: 8 * _MAX_HUBS]
    for one, other in ends[np.isin(ends, candidates).all(axis=1)].tolist():
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    hubs: list[int] = []
    for candidate in candidates.tolist():
        if len(hubs) < _MAX_HUBS and neighbours.get(candidate, set()).isdisjoint(hubs):
            hubs.append(candidate)
    _, nearest = hops_from(count, ends, hubs)
    # What no hub reaches is parted by its components.
    return np.where(nearest >= 0, nearest, _MAX_HUBS + components(count, ends)).astype(np.int32)


def _by_size(numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Number the communities anew, the largest 0; of two equally large the one with the earlier node first."""
    _, firsts, inverse, sizes = np.unique(numbers, return_index=True, return_inverse=True, return_counts=True)
    ranks = np.empty(len(sizes), np.int32)
    ranks[np.lexsort((firsts, -sizes))] = np.arange(len(sizes), dtype=np.int32)
    return ranks[inverse]
