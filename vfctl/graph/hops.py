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
