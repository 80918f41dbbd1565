"""The graph that is served when none is named: the knowledge graph of a (fictitious) ocean institute."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from vfctl.graph.loaders.node_link import load_node_link
from vfctl.graph.model import Graph

_FILE = "data/bundled.json"


def bundled_graph() -> Graph:
    """316 nodes: classes at depths 0 to 5, their individuals and properties, in seven clusters; connected.

    Read from node-link JSON, so that neither networkx nor rdflib is loaded.
    """
    text = resources.files("vfctl.graph").joinpath(_FILE).read_text(encoding="utf-8")
    return load_node_link(Path(_FILE), text)
