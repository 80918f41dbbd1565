"""Node-link JSON: networkx's, d3's and vfctl's own `/graph.json`."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NoReturn

from vfctl.errors import InputError
from vfctl.graph.loaders.builder import GraphBuilder, node_attributes, quoted, weight_attribute
from vfctl.graph.model import Graph

_NODE_PLACE = "nodes[{}]"
_MAX_ID_DEPTH = 8  # of networkx's tuples within tuples


def load_node_link(path: Path, text: str) -> Graph:
    """Read `{"nodes": [{"id": …}, …], "links": [{"source": …, "target": …}, …]}`. The links may be called `edges`.

    Ids are texts, numbers or lists of them (networkx's tuples). The default id of a node is its index, as in d3. The
    end of a link may be a node object, as d3 writes it after its simulation has run. For the rest see
    `vfctl.graph.loaders.builder`.

    Raises:
        InputError: not JSON, not node-link, or anything that a GraphBuilder refuses. Names the place.
    """
    document = _parse(path, text)
    if not isinstance(document, dict):
        raise InputError(f"{path}: the JSON is {_kind_of(document)}, expected an object with 'nodes' and 'links'")
    nodes, links, links_key = _members(path, document)
    builder = GraphBuilder(path, _NODE_PLACE, f"{links_key}[{{}}]", directed=document.get("directed") is True)
    for number, node in enumerate(nodes):
        place = _NODE_PLACE.format(number)
        if not isinstance(node, dict):
            builder.fail(f"is {_kind_of(node)}, expected an object", place)
        node_id = _node_id(builder, node["id"], "id", place) if "id" in node else number
        attributes = {"id": number, **node}
        builder.add_node(node_id, number, **node_attributes(node), attributes=attributes)
    for number, link in enumerate(links):
        place = f"{links_key}[{number}]"
        if not isinstance(link, dict):
            builder.fail(f"is {_kind_of(link)}, expected an object", place)
        source, target = (_end(builder, link, end, place) for end in ("source", "target"))
        builder.add_edge(source, target, number, weight_attribute(link))
    graph = document.get("graph")
    name = graph.get("name") if isinstance(graph, dict) else None
    return builder.graph(name if isinstance(name, str) and _is_text(name) else None)


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: {place}: not JSON ({error.msg})") from None
    except RecursionError:
        raise InputError(f"{path}: JSON that is nested too deeply to be a graph") from None
    except ValueError as error:
        raise InputError(f"{path}: JSON that cannot be read ({error})") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _members(path: Path, document: dict[str, Any]) -> tuple[list[Any], list[Any], str]:
    """Nodes, links, and the key of the links."""
    if "@context" in document or "@graph" in document:
        raise InputError(f"{path}: JSON-LD is not read", hint="convert it to Turtle (.ttl)")
    keys = [key for key in ("links", "edges") if key in document]
    if "nodes" not in document or not keys:
        missing = "'links' or 'edges'" if "nodes" in document else "'nodes'"
        raise InputError(f"{path}: a JSON object without {missing}, expected node-link JSON")
    if len(keys) == 2:
        raise InputError(f"{path}: both 'links' and 'edges', expected one of them")
    for key in ("nodes", keys[0]):
        if not isinstance(document[key], list):
            raise InputError(f"{path}: {key!r} is {_kind_of(document[key])}, expected a list")
    return document["nodes"], document[keys[0]], keys[0]


def _end(builder: GraphBuilder, link: dict[str, Any], end: str, place: str) -> Hashable:
    if end not in link:
        builder.fail(f"has no {end!r}", place)
    value = link[end]
    return _node_id(builder, value.get("id") if isinstance(value, dict) else value, end, place)


def _node_id(builder: GraphBuilder, value: Any, what: str, place: str, depth: int = 0) -> Hashable:
    if isinstance(value, list) and depth < _MAX_ID_DEPTH:
        return tuple(_node_id(builder, part, what, place, depth + 1) for part in value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        builder.fail(f"{what!r} is {quoted(value)}, expected a text or a number", place)
    return value


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _kind_of(value: Any) -> str:
    names = {list: "a list", dict: "an object", str: "a text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")
