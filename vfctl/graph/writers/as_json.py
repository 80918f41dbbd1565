"""Node-link JSON with positions."""

from __future__ import annotations

import json
from typing import BinaryIO, Final

from vfctl.graph.placed import PlacedGraph

SCHEMA: Final = "vfctl.layout/1"


def write_json(placed: PlacedGraph, out: BinaryIO) -> None:
    """`{"schema", "directed": false, "multigraph": false, "graph": {"name", "at_rest", "steps"}, "nodes": [{"id", …,
    "x", "y", "z"}, …], "links": [{"source", "target", "weight"}, …]}`, UTF-8, a node or link a line."""
    graph = placed.graph
    ids = placed.file_ids()
    index_of = {node_id: index for index, node_id in enumerate(graph.ids.tolist())}
    head = {
        "schema": SCHEMA,
        "directed": False,
        "multigraph": False,
        "graph": {"name": graph.name, "at_rest": placed.at_rest, "steps": placed.steps},
    }
    nodes = ({"id": node_id, **said} for node_id, said in zip(ids, placed.attributes(), strict=True))
    links = (
        {"source": ids[index_of[source]], "target": ids[index_of[target]], "weight": weight}
        for source, target, weight in graph.edges.tolist()
    )
    parts = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    for key, rows in (("nodes", nodes), ("links", links)):
        lines = ",\n  ".join(json.dumps(row, allow_nan=False) for row in rows)
        parts.append(f'"{key}": [\n  {lines}\n ]')
    out.write(("{\n " + ",\n ".join(parts) + "\n}\n").encode())
