"""A graph with node positions, and the files it is written to: NPZ, node-link JSON and GraphML."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from vfctl.errors import InputError, UsageError
from vfctl.graph.model import Graph
from vfctl.protocol import Nodes


@dataclass(frozen=True, slots=True, eq=False)
class PlacedGraph:
    """A graph and the positions of its nodes.

    Attributes:
        graph: nodes and edges.
        nodes: NODE_DTYPE [nodes], in the graph's node order; positions in units.
        at_rest: whether the layout had settled.
        steps: steps of the simulation that computed it.

    Raises:
        InputError: `nodes` have other ids than the graph.
    """

    graph: Graph
    nodes: Nodes
    at_rest: bool
    steps: int

    def __post_init__(self) -> None:
        if self.nodes["id"].tolist() != self.graph.ids.tolist():
            raise InputError(f"{self.graph.name}: the positions have other node ids than the graph")

    def file_ids(self) -> list[Any]:
        """The id of each node as in its file; without a file the id in the graph."""
        ids = self.graph.ids.tolist()
        attributes = self.graph.attributes or ({},) * len(ids)
        return [said.get("id", node_id) for said, node_id in zip(attributes, ids, strict=True)]

    def attributes(self) -> Iterator[dict[str, Any]]:
        """Yield the attributes of each node: those in its file except `id`; then `label`, `kind`, `depth` and `cluster`
        of the graph where the file has none; then `x`, `y` and `z`."""
        graph = self.graph
        ours = zip(graph.labels, graph.kinds, graph.depths.tolist(), graph.clusters.tolist(), strict=True)
        places = zip(*(self.nodes[axis].tolist() for axis in "xyz"), strict=True)
        theirs = graph.attributes or ({},) * len(graph)
        for row, said, place in zip(ours, theirs, places, strict=True):
            whole = dict(zip(("label", "kind", "depth", "cluster"), row, strict=True)) | dict(said)
            whole.pop("id", None)
            yield whole | dict(zip("xyz", place, strict=True))


log = logging.getLogger(__name__)

MAX_TEXT_BYTES: Final = 2**29
"""Limit of a column of texts in memory, because numpy gives each text the size of the longest."""


def write_npz(placed: PlacedGraph, out: BinaryIO) -> None:
    """Write columns for `numpy.load`, without pickled objects.

    Columns with one entry per node: `ids` uint32; `positions` float32 [nodes, 3], units; `labels`, `kinds` and
    `file_ids` (the ids as in the file) text; `depths` and `clusters` int32. Others: `edges` EDGE_DTYPE [edges], by
    `ids`; `at_rest` bool []; `steps` int64 [].
    """
    graph, nodes = placed.graph, placed.nodes
    columns: dict[str, npt.NDArray[Any]] = {
        "ids": graph.ids,
        "positions": np.stack([nodes[axis] for axis in "xyz"], axis=1),
        "depths": graph.depths,
        "clusters": graph.clusters,
        "edges": graph.edges,
        "at_rest": np.array(placed.at_rest, np.bool_),
        "steps": np.array(placed.steps, np.int64),
    }
    file_ids = (text if isinstance(text, str) else json.dumps(text) for text in placed.file_ids())
    for name, texts in (("labels", graph.labels), ("kinds", graph.kinds), ("file_ids", file_ids)):
        column = _text_column(texts)
        if column is None:
            log.warning("%s are left out: one is so long that numpy would need gigabytes for the column", name)
        else:
            columns[name] = column
    np.savez_compressed(out, allow_pickle=False, **columns)


def _text_column(texts: Iterable[str]) -> npt.NDArray[np.str_] | None:
    listed = list(texts)
    if 4 * len(listed) * max(map(len, listed), default=0) > MAX_TEXT_BYTES:
        return None
    return np.array(listed, np.str_)


SCHEMA: Final = "vfctl.layout/1"


def write_json(placed: PlacedGraph, out: BinaryIO) -> None:
    """Write `{"schema", "directed": false, "multigraph": false, "graph": {"name", "at_rest", "steps"}, "nodes": [{"id",
    …, "x", "y", "z"}, …], "links": [{"source", "target", "weight"}, …]}`, UTF-8, one node or link per line."""
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


_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, not even escaped."""


def write_graphml(placed: PlacedGraph, out: BinaryIO) -> None:
    """Write nodes with their attributes, edges with `weight`, and the graph with `name`, `at_rest` and `steps`.

    A value that is no text, number or boolean is written as JSON text. A character that XML does not allow becomes
    U+FFFD.
    """
    import networkx

    graph = placed.graph
    keys = [_clean(_text(node_id)) for node_id in placed.file_ids()]
    if len(set(keys)) < len(keys):  # 1 and "1" are different in JSON and equal in XML
        keys = [str(node_id) for node_id in graph.ids.tolist()]
    network = networkx.Graph(name=_clean(graph.name), at_rest=placed.at_rest, steps=placed.steps)
    for key, said in zip(keys, placed.attributes(), strict=True):
        network.add_node(key)
        network.nodes[key].update({_clean(name): _value(value) for name, value in said.items() if value is not None})
    key_of = dict(zip(graph.ids.tolist(), keys, strict=True))
    for source, target, weight in graph.edges.tolist():
        network.add_edge(key_of[source], key_of[target], weight=weight)
    networkx.write_graphml_xml(
        network, out
    )  # not lxml's writer, because the bytes must not depend on what is installed


def _value(value: Any) -> str | int | float | bool:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _clean(_text(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


FORMATS: Final = ("npz", "json", "graphml")


def format_of(path: PurePath) -> str:
    """Return the format of a path, one of FORMATS, by its extension. `-`, for stdout, is `json`.

    Raises:
        UsageError: an unknown extension.
    """
    if str(path) == "-":
        return "json"
    extension = path.suffix.lower().removeprefix(".")
    if extension not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise UsageError(f"{path}: unknown extension, expected {known}; or - for JSON on stdout")
    return extension


def write(placed: PlacedGraph, out: BinaryIO, format: str) -> None:
    """Write a graph with its positions.

    `json` and `graphml` keep the ids and all attributes of the nodes in the file that the graph was read from. vfctl,
    networkx and (JSON) d3 read them. Edges are those of the graph: undirected, parallel ones merged. The same layout
    always gives the same bytes.

    Args:
        format: one of FORMATS.
    """
    match format:
        case "npz":
            write_npz(placed, out)
        case "json":
            write_json(placed, out)
        case "graphml":
            write_graphml(placed, out)
