"""Which nodes and edges match a filter. Equal filters share one subset."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from vfctl.graph import Graph
from vfctl.protocol import Edges, Filter, Metadata, Nodes


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Subset:
    """The part of a graph that matches a filter.

    Attributes:
        indices: int64 [matching nodes], node indices in order; None if all match.
        edges: EDGE_DTYPE [matching edges], those with both ends in the subset.
        metadata: the columns of the matching nodes.
    """

    indices: npt.NDArray[np.int64] | None
    edges: Edges
    metadata: Metadata

    def gather(self, nodes: Nodes) -> Nodes:
        """The matching rows of `nodes`, NODE_DTYPE [matching nodes]; `nodes` itself if all match."""
        return nodes if self.indices is None else nodes[self.indices]


class FilterIndex:
    """Finds the subsets of one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._kinds = np.array(graph.kinds, dtype=np.str_)
        self._folded = [label.casefold() for label in graph.labels]
        self._subsets: WeakValueDictionary[Filter, Subset] = WeakValueDictionary()

    def subset(self, criteria: Filter) -> Subset:
        """The subset of a filter. Equal filters share one for as long as a caller keeps it.

        It is kept no longer, because clients may set any number of filters.
        """
        subset = self._subsets.get(criteria)
        if subset is None:
            subset = self._subsets[criteria] = self._select(criteria)
        return subset

    def count(self, criteria: Filter) -> int:
        """How many nodes match a filter. No subset is made."""
        return int(np.count_nonzero(self._matches(criteria)))

    def _select(self, criteria: Filter) -> Subset:
        graph = self._graph
        if criteria.is_everything:
            metadata = Metadata(graph.labels, graph.kinds, tuple(graph.depths.tolist()), tuple(graph.clusters.tolist()))
            return Subset(None, graph.edges, metadata)
        keep = self._matches(criteria)
        indices = np.flatnonzero(keep)
        ids = graph.ids[keep]
        edges = graph.edges[np.isin(graph.edges["source"], ids) & np.isin(graph.edges["target"], ids)]
        kept = indices.tolist()
        metadata = Metadata(
            label=tuple(graph.labels[index] for index in kept),
            kind=tuple(graph.kinds[index] for index in kept),
            depth=tuple(graph.depths[keep].tolist()),
            cluster=tuple(graph.clusters[keep].tolist()),
        )
        return Subset(indices, edges, metadata)

    def _matches(self, criteria: Filter) -> npt.NDArray[np.bool_]:
        """bool [nodes]: whether each node meets all criteria that are set."""
        graph = self._graph
        keep = np.ones(len(graph), np.bool_)
        if criteria.kinds is not None:
            keep &= np.isin(self._kinds, sorted(criteria.kinds)) if criteria.kinds else False
        if criteria.depth is not None:
            first, last = criteria.depth
            depths = graph.depths.astype(object)  # bounds from a client may be of any size
            keep &= np.array((first <= depths) & (depths <= last), np.bool_)
        if criteria.clusters is not None:
            wanted = criteria.clusters
            keep &= np.fromiter((cluster in wanted for cluster in graph.clusters.tolist()), np.bool_, len(graph))
        if criteria.search is not None:
            needle = criteria.search.casefold()
            keep &= np.fromiter((needle in label for label in self._folded), np.bool_, len(graph))
        return keep
