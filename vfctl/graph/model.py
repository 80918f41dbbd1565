"""The graph that is served: nodes and edges, without positions. Its forms as FullGraph message and node-link JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vfctl.errors import InputError
from vfctl.protocol import EDGE_DTYPE, Edges, FullGraph, Metadata, Nodes, Trailer

KINDS = ("class", "individual", "property", "other")
"""The kinds of nodes."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """An undirected graph as read-only arrays with one entry per node, in node order.

    Attributes:
        name: for people: a file name, `bundled`, …
        ids: uint32 [nodes], distinct.
        labels: str [nodes].
        kinds: str [nodes], each one of KINDS.
        depths: int32 [nodes], level in the hierarchy; roots are 0.
        clusters: int32 [nodes], community numbers.
        edges: EDGE_DTYPE [edges]; `source` and `target` are node ids, `weight` is positive and finite.
        attributes: [nodes], or empty. All attributes of each node in the graph's file, its `id` there included.
            Clients never see them. They are written again with a layout.

    Raises:
        InputError: the columns differ in length, an id occurs twice, the end of an edge does not exist, a kind is
            unknown, or a weight is not positive and finite.
    """

    name: str
    ids: npt.NDArray[np.uint32]
    labels: tuple[str, ...]
    kinds: tuple[str, ...]
    depths: npt.NDArray[np.int32]
    clusters: npt.NDArray[np.int32]
    edges: Edges
    attributes: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.ids)
        for column in ("labels", "kinds", "depths", "clusters"):
            if len(getattr(self, column)) != count:
                raise InputError(f"{self.name}: {len(getattr(self, column))} {column} for {count} nodes")
        if self.attributes and len(self.attributes) != count:
            raise InputError(f"{self.name}: attributes of {len(self.attributes)} nodes for {count} nodes")
        if len(np.unique(self.ids)) != count:
            raise InputError(f"{self.name}: a node id occurs twice")
        unknown = set(self.kinds) - set(KINDS)
        if unknown:
            raise InputError(f"{self.name}: unknown kind {min(unknown)!r}; the kinds are {', '.join(KINDS)}")
        for end in ("source", "target"):
            dangling = ~np.isin(self.edges[end], self.ids)
            if dangling.any():
                at = int(np.argmax(dangling))
                raise InputError(f"{self.name}: edge {at} has an unknown {end}, node {self.edges[end][at]}")
        weights = self.edges["weight"]
        if not (np.isfinite(weights) & (weights > 0)).all():
            raise InputError(f"{self.name}: an edge weight is not a positive, finite number")
        for array in (self.ids, self.depths, self.clusters, self.edges):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)

    def edge_indices(self) -> npt.NDArray[np.int32]:
        """Edges by node *index* instead of id, int32 [edges, 2]: source and target."""
        order = np.argsort(self.ids, kind="stable")
        ends = np.stack([self.edges["source"], self.edges["target"]], axis=1)
        return order[np.searchsorted(self.ids, ends, sorter=order)].astype(np.int32).reshape(-1, 2)


def build_graph(
    name: str,
    labels: Sequence[str],
    edges: Sequence[tuple[int, int, float]] | npt.NDArray[np.float64],
    *,
    kinds: Sequence[str] | None = None,
    depths: Sequence[int] | None = None,
    clusters: Sequence[int] | None = None,
) -> Graph:
    """Make a Graph with ids 0 … n-1 from plain columns. Defaults are kind `other`, depth 0 and cluster 0.

    Args:
        edges: source index, target index and weight of each edge.

    Raises:
        InputError: as for Graph.
    """
    count = len(labels)
    triples = np.asarray(edges, np.float64).reshape(-1, 3)
    records = np.zeros(len(triples), EDGE_DTYPE)
    records["source"], records["target"], records["weight"] = triples.T
    return Graph(
        name=name,
        ids=np.arange(count, dtype=np.uint32),
        labels=tuple(labels),
        kinds=tuple(kinds) if kinds is not None else ("other",) * count,
        depths=np.asarray(depths if depths is not None else np.zeros(count), np.int32),
        clusters=np.asarray(clusters if clusters is not None else np.zeros(count), np.int32),
        edges=records,
    )


def to_full_graph(graph: Graph, nodes: Nodes, *, trailer: Trailer | None = None, metadata: bool = True) -> FullGraph:
    """Make the FullGraph message of the whole graph.

    Args:
        nodes: NODE_DTYPE [nodes], the current positions, in the graph's node order.
    """
    columns = Metadata(graph.labels, graph.kinds, tuple(graph.depths.tolist()), tuple(graph.clusters.tolist()))
    return FullGraph(nodes, graph.edges, columns if metadata else None, trailer)


def from_full_graph(message: FullGraph, name: str) -> Graph:
    """Make the Graph that a FullGraph describes. Without METADATA labels are the ids, kinds `other`, and depths 0.

    Raises:
        InputError: as for Graph. The message may come from a recording of another server.
    """
    count = len(message.nodes)
    ids = message.nodes["id"].copy()
    columns = message.metadata or Metadata(
        label=tuple(str(node_id) for node_id in ids.tolist()),
        kind=("other",) * count,
        depth=(0,) * count,
        cluster=(0,) * count,
    )
    return Graph(
        name=name,
        ids=ids,
        labels=columns.label,
        kinds=tuple(kind if kind in KINDS else "other" for kind in columns.kind),
        depths=np.asarray(columns.depth, np.int32),
        clusters=np.asarray(columns.cluster, np.int32),
        edges=message.edges.copy(),
    )


def to_node_link(graph: Graph, nodes: Nodes | None = None) -> dict[str, Any]:
    """Make the node-link form that `/graph.json` serves, of plain Python values. Read back, it gives an equal graph.

    Args:
        nodes: NODE_DTYPE [nodes], positions in the graph's node order; adds `x`, `y` and `z` to each node.

    Returns:
        `{"directed": False, "multigraph": False, "graph": {"name": …}, "nodes": [{"id", "label", "kind",
        "depth", "cluster"}, …], "links": [{"source", "target", "weight"}, …]}`; `source` and `target` are ids.

    Raises:
        InputError: `nodes` have other ids than the graph.
    """
    columns = [graph.ids.tolist(), graph.labels, graph.kinds, graph.depths.tolist(), graph.clusters.tolist()]
    keys = ["id", "label", "kind", "depth", "cluster"]
    if nodes is not None:
        if nodes["id"].tolist() != columns[0]:
            raise InputError(f"{graph.name}: the positions have other node ids than the graph")
        keys += "xyz"
        columns += [nodes[axis].tolist() for axis in "xyz"]
    return {
        "directed": False,
        "multigraph": False,
        "graph": {"name": graph.name},
        "nodes": [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)],
        "links": [
            {"source": source, "target": target, "weight": weight} for source, target, weight in graph.edges.tolist()
        ],
    }
