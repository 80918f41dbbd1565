"""GraphML with positions, written by networkx."""

from __future__ import annotations

import json
import math
import re
from typing import Any, BinaryIO, Final

from vfctl.graph.placed import PlacedGraph

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot say at all, not even escaped."""


def write_graphml(placed: PlacedGraph, out: BinaryIO) -> None:
    """Nodes with their attributes, `x`, `y` and `z` among them; edges with `weight`; the graph with `name`, `at_rest`
    and `steps`. What is neither text, number nor boolean is written as JSON text; characters that XML does not know
    become U+FFFD."""
    import networkx

    graph = placed.graph
    keys = [_clean(_text(node_id)) for node_id in placed.file_ids()]
    if len(set(keys)) < len(keys):  # 1 and "1", which JSON tells apart and XML does not
        keys = [str(node_id) for node_id in graph.ids.tolist()]
    network = networkx.Graph(name=_clean(graph.name), at_rest=placed.at_rest, steps=placed.steps)
    for key, said in zip(keys, placed.attributes(), strict=True):
        network.add_node(key)
        network.nodes[key].update({_clean(name): _value(value) for name, value in said.items() if value is not None})
    key_of = dict(zip(graph.ids.tolist(), keys, strict=True))
    for source, target, weight in graph.edges.tolist():
        network.add_edge(key_of[source], key_of[target], weight=weight)
    networkx.write_graphml_xml(network, out)  # not lxml's writer: the same bytes whether or not it is installed


def _value(value: Any) -> str | int | float | bool:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _clean(_text(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
