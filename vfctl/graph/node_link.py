"""A Graph as node-link JSON: what `/graph.json` serves, and what d3, networkx and vfctl's own loader read."""

from __future__ import annotations

from typing import Any

from vfctl.errors import InputError
from vfctl.graph.model import Graph
from vfctl.protocol import Nodes


def to_node_link(graph: Graph, nodes: Nodes | None = None) -> dict[str, Any]:
    """The node-link form, of plain Python values only; read back it gives an equal graph.

    Args:
        nodes: NODE_DTYPE [nodes], positions in the graph's node order; adds `x`, `y` and `z` to each node.

    Returns:
        `{"directed": False, "multigraph": False, "graph": {"name": …}, "nodes": [{"id", "label", "kind",
        "depth", "cluster"}, …], "links": [{"source", "target", "weight"}, …]}`; `source` and `target` are ids.

    Raises:
        InputError: `nodes` are not the graph's.
    """
    columns = [graph.ids.tolist(), graph.labels, graph.kinds, graph.depths.tolist(), graph.clusters.tolist()]
    keys = ["id", "label", "kind", "depth", "cluster"]
    if nodes is not None:
        if nodes["id"].tolist() != columns[0]:
            raise InputError(f"{graph.name}: the positions are those of other nodes")
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
