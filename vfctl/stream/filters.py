"""Which nodes and edges a filter lets through. Equal filters share one subset."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from vfctl.graph import Graph
from vfctl.protocol import Edges, Filter, Metadata, Nodes


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Subset:
    """What a filter leaves of a graph.

    Attributes:
        indices: int64 [kept nodes], node indices in order; None if all are kept.
        edges: EDGE_DTYPE [kept edges], those with both ends inside.
        metadata: the columns of the kept nodes.
    """

    indices: npt.NDArray[np.int64] | None
    edges: Edges
    metadata: Metadata

    def gather(self, nodes: Nodes) -> Nodes:
        """The kept rows of `nodes`, NODE_DTYPE [kept nodes]; `nodes` itself if all are kept."""
        return nodes if self.indices is None else nodes[self.indices]


class FilterIndex:
    """Answers filters for one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._kinds = np.array(graph.kinds, dtype=np.str_)
        self._folded = [label.casefold() for label in graph.labels]
        self._subsets: WeakValueDictionary[Filter, Subset] = WeakValueDictionary()

    def subset(self, criteria: Filter) -> Subset:
        """The subset of a filter. Equal filters share one as long as somebody holds it.

        No longer: clients can think of any number of filters.
        """
        subset = self._subsets.get(criteria)
        if subset is None:
            subset = self._subsets[criteria] = self._select(criteria)
        return subset

    def count(self, criteria: Filter) -> int:
        """How many nodes a filter leaves; nothing is kept for it."""
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
        """bool [nodes]: all criteria that are set hold."""
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
