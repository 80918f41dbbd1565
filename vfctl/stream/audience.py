"""One encoding and one WebSocket framing for all connections that ask for the same."""

from __future__ import annotations

from weakref import WeakValueDictionary

from vfctl.graph import Graph
from vfctl.protocol import Filter, FullGraph, Nodes, PositionUpdate, Trailer, encode
from vfctl.protocol.websocket import frame
from vfctl.stream.filters import FilterIndex, Subset
from vfctl.stream.variants import Encoding, Variant


class Scene:
    """The present state of the graph, and the audiences that watch it.

    Args:
        graph: who is there and who is linked to whom.
        nodes: NODE_DTYPE [nodes], in the graph's node order.
        settled: whether the layout is stable.
        timestamp_us: unix time in µs at which this was valid.
    """

    def __init__(self, graph: Graph, nodes: Nodes, settled: bool, timestamp_us: int) -> None:
        self._index = FilterIndex(graph)
        self._audiences: WeakValueDictionary[Variant, Audience] = WeakValueDictionary()
        self._gathered: dict[Filter, Nodes] = {}
        self.nodes = nodes
        self.settled = settled
        self.timestamp_us = timestamp_us
        self.version = 0
        """Grows whenever what would be sent changes, if only in its time."""

    def update(self, nodes: Nodes, settled: bool, timestamp_us: int) -> None:
        """A new state, NODE_DTYPE [nodes]."""
        self.nodes, self.settled = nodes, settled
        self._gathered.clear()
        self.confirm(timestamp_us)

    def confirm(self, timestamp_us: int) -> None:
        """The state is the same and was still valid at `timestamp_us`."""
        self.timestamp_us = timestamp_us
        self.version += 1

    def audience(self, variant: Variant) -> Audience:
        """The one audience of a variant; it lives as long as somebody holds it."""
        audience = self._audiences.get(variant)
        if audience is None:
            audience = self._audiences[variant] = Audience(self, variant)
        return audience

    def subset(self, criteria: Filter) -> Subset:
        """What a filter leaves of the graph."""
        return self._index.subset(criteria)

    def visible_nodes(self, criteria: Filter) -> Nodes:
        """NODE_DTYPE [kept nodes]: the present state of those that a filter keeps, gathered once a state."""
        nodes = self._gathered.get(criteria)
        if nodes is None:
            nodes = self._gathered[criteria] = self._index.subset(criteria).gather(self.nodes)
        return nodes


class Audience:
    """All connections with one variant: they receive the same bytes, made once a state and round."""

    __slots__ = ("__weakref__", "_graphs", "_scene", "_updates", "_version", "variant")

    def __init__(self, scene: Scene, variant: Variant) -> None:
        self.variant = variant
        self._scene = scene
        self._version = -1
        self._updates: dict[int, bytes] = {}
        self._graphs: dict[int, bytes] = {}

    def position_update(self, sequence: int, interval_us: int) -> bytes:
        """The framed PositionUpdate of the present state for the round `sequence`."""
        self._drop_stale()
        framed = self._updates.get(sequence)
        if framed is None:
            variant, scene = self.variant, self._scene
            message = PositionUpdate(
                scene.visible_nodes(variant.filter),
                scene.settled,
                self._trailer(sequence, interval_us),
                variant.encoding is Encoding.LZ4,
            )
            framed = self._updates[sequence] = frame(encode(message))
        return framed

    def full_graph(self, sequence: int, interval_us: int) -> bytes:
        """The framed FullGraph of the subset, in the variant's encoding and with its flags."""
        self._drop_stale()
        framed = self._graphs.get(sequence)
        if framed is None:
            variant, scene = self.variant, self._scene
            subset = scene.subset(variant.filter)
            message = FullGraph(
                scene.visible_nodes(variant.filter),
                subset.edges,
                subset.metadata if variant.metadata else None,
                self._trailer(sequence, interval_us),
                variant.encoding is Encoding.LZ4,
            )
            framed = self._graphs[sequence] = frame(encode(message))
        return framed

    def _drop_stale(self) -> None:
        if self._version != self._scene.version:
            self._version = self._scene.version
            self._updates.clear()
            self._graphs.clear()

    def _trailer(self, sequence: int, interval_us: int) -> Trailer | None:
        return Trailer(sequence, self._scene.timestamp_us, interval_us) if self.variant.timed else None
