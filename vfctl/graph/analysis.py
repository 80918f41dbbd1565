"""Hop distances, components and communities of a graph. scipy searches, networkx finds communities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def adjacency(count: int, ends: npt.NDArray[np.int32]) -> csr_array:
    """Return the graph as scipy searches it: a sparse matrix [nodes, nodes] with each edge in both directions.

    Args:
        count: number of nodes.
        ends: int32 [edges, 2], node indices.
    """
    from scipy.sparse import coo_array  # loading it takes 0.3 s and 22 MB, and gateways do without

    one, other = ends.T
    both = np.concatenate([one, other]), np.concatenate([other, one])
    return coo_array((np.ones(2 * len(ends)), both), shape=(count, count)).tocsr()


def hops_from(graph: csr_array, sources: Sequence[int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Find how far each node is from the nearest source, and which source that is.

    Args:
        graph: see `adjacency`.
        sources: distinct node indices. Of two that are equally near, the earlier one counts.

    Returns:
        (distances, nearest): int32 [nodes] each. Hops to the nearest source, and its index in `sources`.
        Both are -1 where no source can be reached.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    count = graph.shape[0]
    # An extra node, linked to all sources in their order, makes one search of many.
    columns = np.concatenate([graph.indices, np.asarray(sources, np.int32)])
    starts = np.append(graph.indptr, np.int32(len(columns)))
    extended = csr_array((np.ones(len(columns)), columns, starts), shape=(count + 1, count + 1))
    found, parents = breadth_first_order(extended, count, directed=True)
    found = found[1:]
    position = np.empty(count + 1, np.int32)
    position[found] = np.arange(len(found), dtype=np.int32)
    # The sources were found first. Each pass goes twice as far back from each node, until all are at their sources.
    ancestor = position[parents[found]]
    ancestor[: len(sources)] = np.arange(len(sources))
    hops = (np.arange(len(found)) >= len(sources)).astype(np.int32)
    while (ancestor >= len(sources)).any():
        hops += hops[ancestor]
        ancestor = ancestor[ancestor]
    distances, nearest = np.full((2, count), -1, np.int32)
    distances[found], nearest[found] = hops, ancestor
    return distances, nearest


def components(graph: csr_array) -> npt.NDArray[np.int32]:
    """Find which connected component each node is in, int32 [nodes]; components are numbered by their first node."""
    from scipy.sparse.csgraph import connected_components

    numbers: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1].astype(np.int32)
    return numbers


def degrees(count: int, ends: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Edges per node, int64 [nodes]."""
    return np.bincount(ends.ravel(), minlength=count)


LOUVAIN_MAX_EDGES = 10_000
"""Up to here Louvain takes two seconds at most (scale-free graphs take the longest). Twice the edges take four times as
long, and a server should not need half a minute to start."""

_SEED = 4
_MAX_HUBS = 32


def find_communities(
    count: int, ends: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.int32]:
    """Find a community for each node. Community 0 is the largest. The same graph always gets the same communities.

    Up to LOUVAIN_MAX_EDGES edges networkx finds them by the Louvain method. In larger graphs a community is the nodes
    that are nearest to one of up to 32 hubs, which are not neighbours: coarser, but linear in time.

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
    import networkx  # loading it takes a fifth of a second, and most files have clusters

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
    graph = adjacency(count, ends)
    _, nearest = hops_from(graph, hubs)
    return np.where(nearest >= 0, nearest, _MAX_HUBS + components(graph)).astype(np.int32)


def _by_size(numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Renumber the communities by size, the largest is 0. Of two of one size the one with the earlier node is first."""
    _, firsts, inverse, sizes = np.unique(numbers, return_index=True, return_inverse=True, return_counts=True)
    ranks = np.empty(len(sizes), np.int32)
    ranks[np.lexsort((firsts, -sizes))] = np.arange(len(sizes), dtype=np.int32)
    return ranks[inverse]
