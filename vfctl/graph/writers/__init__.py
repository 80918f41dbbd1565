"""Files of graphs with positions, by their extension: NPZ, node-link JSON, GraphML."""

from __future__ import annotations

from pathlib import PurePath
from typing import BinaryIO, Final

from vfctl.errors import UsageError
from vfctl.graph.placed import PlacedGraph

FORMATS: Final = ("npz", "json", "graphml")


def format_of(path: PurePath) -> str:
    """One of FORMATS; `-`, for stdout, is `json`.

    Raises:
        UsageError: another extension.
    """
    if str(path) == "-":
        return "json"
    extension = path.suffix.lower().removeprefix(".")
    if extension not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise UsageError(f"{path}: what to write is told by the extension: {known}; or - for JSON on stdout")
    return extension


def write(placed: PlacedGraph, out: BinaryIO, format: str) -> None:
    """Write a placed graph.

    `json` and `graphml` have the ids, and all attributes, that the nodes have in the file that the graph was read from;
    vfctl, networkx and (JSON) d3 read them. Edges are those of the graph: undirected, parallel ones merged. The same
    layout always gives the same bytes.

    Args:
        format: one of FORMATS.
    """
    match format:
        case "npz":
            from vfctl.graph.writers.as_npz import write_npz

            write_npz(placed, out)
        case "json":
            from vfctl.graph.writers.as_json import write_json

            write_json(placed, out)
        case "graphml":
            from vfctl.graph.writers.as_graphml import write_graphml

            write_graphml(placed, out)
