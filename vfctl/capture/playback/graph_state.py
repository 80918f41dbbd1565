"""The graph that a recording shows at one moment, decoded from its messages whatever their encoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfctl.capture.message import CapturedMessage, Form, flags_of
from vfctl.graph import Graph, from_full_graph
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, Flag, FullGraph, Message, MessageType, Nodes, PositionUpdate, decode
from vfctl.protocol.deployed import decode_deployed
from vfctl.protocol.position_decoder import PositionDecoder


class Positions:
    """Decodes the messages of one connection into graphs and updates, in order.

    Every FullGraph and COMPACT update must be decoded, because later updates depend on them. Others may be skipped.
    """

    def __init__(self) -> None:
        self._decoder = PositionDecoder()

    def depends(self, captured: CapturedMessage) -> bool:
        """Whether later messages may depend on this one."""
        return captured.form is Form.V4 and (captured.payload[1] == MessageType.FULL_GRAPH or is_compact(captured))

    def read(self, captured: CapturedMessage) -> Message:
        """Decode a message. A COMPACT update, or a frame of a deployed server, becomes a PositionUpdate.

        Raises:
            ProtocolError: it is malformed, or a COMPACT update that depends on one that was not decoded.
        """
        if captured.form is not Form.V4:
            frame = decode_deployed(captured.payload)
            return PositionUpdate(_plain_nodes(frame.records, frame.ids))
        return self._decoder.decode(decode(captured.payload))


def is_compact(captured: CapturedMessage) -> bool:
    """Whether this is a COMPACT update."""
    return (
        captured.form is Form.V4
        and captured.payload[1] == MessageType.POSITION_UPDATE
        and Flag.COMPACT in flags_of(captured.payload)
    )


def _plain_nodes(records: npt.NDArray[np.void], ids: npt.NDArray[np.uint32]) -> Nodes:
    nodes = np.zeros(len(records), NODE_DTYPE)
    for name in ("x", "y", "z", "vx", "vy", "vz"):
        nodes[name] = records[name]
    nodes["id"] = ids
    return nodes


@dataclass(frozen=True, slots=True, eq=False)
class GraphState:
    """The graph and the positions of a recording at one moment.

    Attributes:
        graph: its nodes and edges.
        nodes: NODE_DTYPE [nodes], the positions in the order of the graph.
        has_metadata: whether labels and kinds were recorded. If not, those of the graph are placeholders.
    """

    graph: Graph
    nodes: Nodes
    has_metadata: bool

    @classmethod
    def from_graph(cls, message: FullGraph, name: str) -> GraphState:
        """The state that a FullGraph describes.

        Raises:
            InputError: its nodes and edges do not make a graph.
        """
        return cls(from_full_graph(message, name), message.nodes, message.metadata is not None)

    @classmethod
    def from_nodes(cls, nodes: Nodes, name: str) -> GraphState:
        """The state of a recording without a FullGraph: nodes without edges.

        Raises:
            InputError: a node id occurs twice.
        """
        return cls.from_graph(FullGraph(nodes, np.zeros(0, EDGE_DTYPE)), name)

    def moved(self, nodes: Nodes) -> tuple[GraphState, int]:
        """The graph with new positions for the given nodes, and the number of those that it does not have."""
        ids = self.graph.ids
        if np.array_equal(nodes["id"], ids):
            return GraphState(self.graph, nodes, self.has_metadata), 0
        merged = self.nodes.copy()
        order = np.argsort(ids, kind="stable")
        places = np.searchsorted(ids, nodes["id"], sorter=order)
        known = places < len(ids)
        known[known] = ids[order[places[known]]] == nodes["id"][known]
        merged[order[places[known]]] = nodes[known]
        return GraphState(self.graph, merged, self.has_metadata), int(len(nodes) - known.sum())

    def shows_same_graph(self, other: GraphState) -> bool:
        """Whether both have the same nodes in the same order, the same labels and the same edges."""
        mine, theirs = self.graph, other.graph
        return (
            self.has_metadata == other.has_metadata
            and np.array_equal(mine.ids, theirs.ids)
            and np.array_equal(mine.depths, theirs.depths)
            and np.array_equal(mine.clusters, theirs.clusters)
            and np.array_equal(mine.edges, theirs.edges)
            and (mine.labels, mine.kinds) == (theirs.labels, theirs.kinds)
        )
