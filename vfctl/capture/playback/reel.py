"""A recording that is unrolled as its time comes, and the graph that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from vfctl.capture.captured import Form
from vfctl.capture.playback.playlist import Playlist
from vfctl.capture.timeline import TimedMessage
from vfctl.errors import VfctlError
from vfctl.graph import Graph, from_full_graph
from vfctl.protocol import EDGE_DTYPE, FullGraph, MessageType, Nodes

_UPDATE: Final = MessageType.POSITION_UPDATE


class Reel:
    """The messages of a recording in the order of their time, read no further than one message ahead.

    Time never runs backwards here: a message that claims to be older than the one before it comes together with it.

    Args:
        playlist: the recording.
        from_s: from where on it is to be played; see `Playlist.messages`.
        whole: likewise.

    Attributes:
        latest_s: time of the last message taken, in seconds from the recording's start.
        damage: what was wrong with the files that have been read to their end.
    """

    def __init__(self, playlist: Playlist, from_s: float = 0.0, *, whole: bool = False) -> None:
        self.latest_s = 0.0
        self.damage: list[VfctlError] = []
        self._messages = playlist.messages(from_s, self.damage, whole=whole)
        self._next = next(self._messages, None)

    @property
    def ended(self) -> bool:
        """Whether every message has been taken."""
        return self._next is None

    @property
    def next_s(self) -> float:
        """Time of the next message; infinite if there is none."""
        return max(self.latest_s, self._next.time_s) if self._next else float("inf")

    @property
    def brings_positions(self) -> bool:
        """Whether the next message does."""
        captured = self._next.captured if self._next else None
        return captured is not None and (captured.form is not Form.V4 or captured.payload[1] == _UPDATE)

    def due(self, until_s: float) -> Iterator[TimedMessage]:
        """Take the messages up to a time, that time included."""
        while self._next and self.next_s <= until_s:
            timed = self._next
            self.latest_s = self.next_s
            self._next = next(self._messages, None)
            yield timed

    def close(self) -> None:
        """Let go of the files."""
        self._messages.close()


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
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
    def from_graph(cls, message: FullGraph, name: str) -> Stage:
        """The stage that a FullGraph sets.

        Raises:
            InputError: its nodes and edges do not make a graph.
        """
        return cls(from_full_graph(message, name), message.nodes, message.metadata is not None)

    @classmethod
    def from_nodes(cls, nodes: Nodes, name: str) -> Stage:
        """The stage of a recording that begins without a FullGraph: nodes without edges.

        Raises:
            InputError: a node id occurs twice.
        """
        return cls.from_graph(FullGraph(nodes, np.zeros(0, EDGE_DTYPE)), name)

    def moved(self, nodes: Nodes) -> tuple[Stage, int]:
        """The same graph with new positions for the nodes that `nodes` has; and how many of those are unknown."""
        ids = self.graph.ids
        if np.array_equal(nodes["id"], ids):
            return Stage(self.graph, nodes, self.has_metadata), 0
        merged = self.nodes.copy()
        order = np.argsort(ids, kind="stable")
        places = np.searchsorted(ids, nodes["id"], sorter=order)
        known = places < len(ids)
        known[known] = ids[order[places[known]]] == nodes["id"][known]
        merged[order[places[known]]] = nodes[known]
        return Stage(self.graph, merged, self.has_metadata), int(len(nodes) - known.sum())

    def shows_same_graph(self, other: Stage) -> bool:
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
