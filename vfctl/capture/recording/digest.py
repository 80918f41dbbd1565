"""What a recording notes of the graph that it shows."""

from __future__ import annotations

import hashlib
import json

from vfctl.errors import ProtocolError
from vfctl.protocol import FullGraph, decode


def graph_facts(payload: bytes) -> dict[str, str]:
    """Size and digest of a FullGraph's graph, for a recording's metadata; nothing if it cannot be decoded.

    Two recordings have the same `graph_sha256` if ids, edges, labels, kinds, depths and clusters are the same, in the
    same order; positions do not count, nor does the encoding.
    """
    try:
        graph = decode(payload)
    except ProtocolError:
        return {}
    if not isinstance(graph, FullGraph):
        return {}
    digest = hashlib.sha256(graph.nodes["id"].astype("<u4").tobytes())
    digest.update(graph.edges.tobytes())
    if graph.metadata is not None:
        columns = (graph.metadata.label, graph.metadata.kind, graph.metadata.depth, graph.metadata.cluster)
        digest.update(json.dumps(columns).encode())
    return {
        "graph_sha256": digest.hexdigest(),
        "graph_nodes": str(len(graph.nodes)),
        "graph_edges": str(len(graph.edges)),
    }
