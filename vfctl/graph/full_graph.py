"""A Graph as V4 carries it, and back: how gateways get labels without ever loading a file."""

from __future__ import annotations

import numpy as np

from vfctl.graph.model import KINDS, Graph
from vfctl.protocol import FullGraph, Metadata, Nodes, Trailer


def to_full_graph(graph: Graph, nodes: Nodes, *, trailer: Trailer | None = None, metadata: bool = True) -> FullGraph:
    """The FullGraph message of the whole graph.

    Args:
        nodes: NODE_DTYPE [nodes], the present positions, in the graph's node order.
    """
    columns = Metadata(graph.labels, graph.kinds, tuple(graph.depths.tolist()), tuple(graph.clusters.tolist()))
    return FullGraph(nodes, graph.edges, columns if metadata else None, trailer)


def from_full_graph(message: FullGraph, name: str) -> Graph:
    """The Graph that a FullGraph describes. Without METADATA labels are the ids, and all are `other`, depth 0.

    Raises:
        InputError: as for Graph (the message may come from a foreign recording).
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
