"""A graph whose nodes have places: what a layout comes to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vfctl.errors import InputError
from vfctl.graph.model import Graph
from vfctl.protocol import Nodes


@dataclass(frozen=True, slots=True, eq=False)
class PlacedGraph:
    """A graph, and where its nodes are.

    Attributes:
        graph: what is placed.
        nodes: NODE_DTYPE [nodes], in the graph's node order; positions in units.
        at_rest: whether the layout had settled.
        steps: of the simulation that led there.

    Raises:
        InputError: `nodes` are not the graph's.
    """

    graph: Graph
    nodes: Nodes
    at_rest: bool
    steps: int

    def __post_init__(self) -> None:
        if self.nodes["id"].tolist() != self.graph.ids.tolist():
            raise InputError(f"{self.graph.name}: the positions are those of other nodes")

    def file_ids(self) -> list[Any]:
        """The id of each node as its file has it; the graph's own where there is no file."""
        ids = self.graph.ids.tolist()
        attributes = self.graph.attributes or ({},) * len(ids)
        return [said.get("id", node_id) for said, node_id in zip(attributes, ids, strict=True)]

    def attributes(self) -> Iterator[dict[str, Any]]:
        """For each node what its file says of it, `id` left out; what it does not say of `label`, `kind`, `depth` and
        `cluster`, as vfctl takes it; and its `x`, `y` and `z`."""
        graph = self.graph
        ours = zip(graph.labels, graph.kinds, graph.depths.tolist(), graph.clusters.tolist(), strict=True)
        places = zip(*(self.nodes[axis].tolist() for axis in "xyz"), strict=True)
        theirs = graph.attributes or ({},) * len(graph)
        for row, said, place in zip(ours, theirs, places, strict=True):
            whole = dict(zip(("label", "kind", "depth", "cluster"), row, strict=True)) | dict(said)
            whole.pop("id", None)
            yield whole | dict(zip("xyz", place, strict=True))
