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
    """Turns the messages of one connection into graphs and updates, in order.

    COMPACT updates depend on those before them, so each has to be given; of all others only those that are wanted.
    """

    def __init__(self) -> None:
        self._decoder = PositionDecoder()

    def depends(self, captured: CapturedMessage) -> bool:
        """Whether later messages may not be decodable unless this one is."""
        return captured.form is Form.V4 and (captured.payload[1] == MessageType.FULL_GRAPH or is_compact(captured))

    def read(self, captured: CapturedMessage) -> Message:
        """What a message says; a COMPACT update, or a frame of a deployed server, as a PositionUpdate.

        Raises:
            ProtocolError: it is not well-formed, or a COMPACT update that is predicted from what has not been read.
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
    """What a recording shows at one moment.

    Attributes:
        graph: the nodes and edges.
        nodes: NODE_DTYPE [nodes], their positions, in the graph's order.
        has_metadata: whether labels and kinds were recorded (else the graph's are made up).
    """

    graph: Graph
    nodes: Nodes
    has_metadata: bool

    @classmethod
    def from_graph(cls, message: FullGraph, name: str) -> GraphState:
        """The stage that a FullGraph sets.

        Raises:
            InputError: its nodes and edges do not make a graph.
        """
        return cls(from_full_graph(message, name), message.nodes, message.metadata is not None)

    @classmethod
    def from_nodes(cls, nodes: Nodes, name: str) -> GraphState:
        """The stage of a recording that begins without a FullGraph: nodes without edges.

        Raises:
            InputError: a node id occurs twice.
        """
        return cls.from_graph(FullGraph(nodes, np.zeros(0, EDGE_DTYPE)), name)

    def moved(self, nodes: Nodes) -> tuple[GraphState, int]:
        """The same graph with new positions for the nodes that `nodes` has; and how many of those are unknown."""
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
