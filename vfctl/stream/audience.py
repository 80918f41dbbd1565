"""One encoded and framed message for all connections that ask for the same form of the state."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from vfctl.graph import Graph
from vfctl.protocol import (
    CompactEncoder,
    CompactUpdate,
    Filter,
    FullGraph,
    History,
    Nodes,
    PositionUpdate,
    Trailer,
    View,
    encode_parts,
    positions_of,
)
from vfctl.protocol.websocket import frame_header
from vfctl.protocol.wire import TRAILER, Buffer
from vfctl.stream.filters import FilterIndex, Subset
from vfctl.stream.variants import Encoding, Variant

Pieces = tuple[Buffer, ...]
"""Bytes that are written one after another."""

KEPT_STATES: Final = 128
"""States that COMPACT frames can be predicted from: two seconds at 60 Hz, so clients that are served once a second need
no key frames."""


class Scene:
    """The current state of the graph, and the audiences that receive it.

    Args:
        graph: nodes and edges.
        nodes: NODE_DTYPE [nodes], in the graph's node order.
        settled: whether the layout is stable.
        timestamp_us: unix time in µs at which the state was valid.
        chain: see CompactEncoder.
    """

    def __init__(self, graph: Graph, nodes: Nodes, settled: bool, timestamp_us: int, chain: int = 0) -> None:
        self._graph = graph
        self._compact = CompactEncoder(chain, kept_states=KEPT_STATES)
        self._index = FilterIndex(graph)
        self._audiences: WeakValueDictionary[Variant, Audience] = WeakValueDictionary()
        self._gathered: WeakKeyDictionary[Subset, Nodes] = WeakKeyDictionary()
        self.nodes = nodes
        self.settled = settled
        self.timestamp_us = timestamp_us
        self.version = 0
        """Grows with every change of what is sent, be it the time alone."""
        self.state = 0
        """Grows with every new state."""

    def update(self, nodes: Nodes, settled: bool, timestamp_us: int) -> None:
        """Replace the state.

        Args:
            nodes: NODE_DTYPE [nodes].
            settled: whether the layout is stable.
            timestamp_us: unix time in µs at which the state was valid.
        """
        self.nodes, self.settled = nodes, settled
        self.state += 1
        self._gathered.clear()
        self.confirm(timestamp_us)

    def confirm(self, timestamp_us: int) -> None:
        """Record that the state was still valid at `timestamp_us`."""
        self.timestamp_us = timestamp_us
        self.version += 1

    def audience(self, variant: Variant) -> Audience:
        """The audience of a variant. It is dropped when no caller keeps it any more."""
        audience = self._audiences.get(variant)
        if audience is None:
            audience = self._audiences[variant] = Audience(self, variant)
        return audience

    def subset(self, criteria: Filter) -> Subset:
        """The part of the graph that matches a filter. Keep it for as long as it is needed."""
        return self._index.subset(criteria)

    def visible_nodes(self, subset: Subset) -> Nodes:
        """NODE_DTYPE [matching nodes]: the current state of a subset, copied once for each state."""
        nodes = self._gathered.get(subset)
        if nodes is None:
            nodes = self._gathered[subset] = subset.gather(self.nodes)
        return nodes

    def view(self, subset: Subset) -> View:
        """The nodes of a subset, as the COMPACT encoder needs them."""
        indices = subset.indices
        return View(self._graph.ids if indices is None else self._graph.ids[indices], indices)

    def compact_section(self, view: View, history: History | None) -> tuple[bytes, History]:
        """The current state for connections that have `history`, see `CompactEncoder.section`.

        Every state has a number, sent or not, because the prediction uses the numbers as times. A state is quantised
        when a connection first needs it.
        """
        if self._compact.position != self.state:
            self._compact.push(self.state, positions_of(self.nodes))
        return self._compact.section(view, history)


class Audience:
    """All connections with one variant. They receive the same bytes, encoded once for each state and interval.

    While a layout is at rest only the trailer changes from interval to interval, and it comes last. So everything
    before it is kept, in pieces; the nodes are a view of the state.

    Attributes:
        variant: the form in which they get states.
        compact: updates are COMPACT. These depend on the history of each connection, so use `compact_update`.
    """

    __slots__ = (
        "__weakref__",
        "_compact_bodies",
        "_framed",
        "_graph_body",
        "_scene",
        "_state",
        "_subset",
        "_update_body",
        "_version",
        "_view",
        "compact",
        "variant",
    )

    def __init__(self, scene: Scene, variant: Variant) -> None:
        self.variant = variant
        self.compact = variant.encoding is Encoding.COMPACT
        self._subset = scene.subset(variant.filter)
        self._view = scene.view(self._subset) if self.compact else None
        self._compact_bodies: dict[History | None, tuple[Pieces, History]] = {}
        self._scene = scene
        self._version = self._state = -1
        self._update_body: Pieces = ()
        self._graph_body: Pieces = ()
        self._framed: dict[tuple[object, int, int], bytes] = {}

    def position_update(self, sequence: int, interval_us: int) -> bytes:
        """The framed PositionUpdate of the current state, for the interval number `sequence`."""
        self._drop_stale()
        key = (False, sequence, interval_us)
        framed = self._framed.get(key)
        if framed is None:
            framed = self._framed[key] = b"".join(self.position_update_pieces(sequence, interval_us))
        return framed

    def position_update_pieces(self, sequence: int, interval_us: int) -> Pieces:
        """The same in pieces, for callers that can write pieces."""
        self._drop_stale()
        if not self._update_body:
            self._update_body = self._without_trailer(self._update())
        return *self._update_body, self._trailer(sequence, interval_us)

    def compact_update(self, history: History | None, sequence: int, interval_us: int) -> tuple[bytes, History]:
        """The framed CompactUpdate of the current state for connections with `history`, and their history after it."""
        self._drop_stale()
        made = self._compact_bodies.get(history)
        if made is None:
            made = self._compact_bodies[history] = self._compact_body(history)
        body, after = made
        key = (history or False, sequence, interval_us)
        framed = self._framed.get(key)
        if framed is None:
            framed = self._framed[key] = b"".join((*body, self._trailer(sequence, interval_us)))
        return framed, after

    def largest_update_bytes(self) -> int:
        """Length of a framed update of the current state in bytes; of COMPACT updates the longest, a key frame."""
        return len(self.compact_update(None, 0, 0)[0] if self.compact else self.position_update(0, 0))

    def full_graph(self, sequence: int, interval_us: int) -> bytes:
        """The framed FullGraph of the subset, in the encoding and with the flags of the variant."""
        self._drop_stale()
        key = (True, sequence, interval_us)
        framed = self._framed.get(key)
        if framed is None:
            if not self._graph_body:
                self._graph_body = self._without_trailer(self._graph())
            framed = self._framed[key] = b"".join((*self._graph_body, self._trailer(sequence, interval_us)))
        return framed

    def _drop_stale(self) -> None:
        scene = self._scene
        if self._version != scene.version:
            self._version = scene.version
            self._framed.clear()
            if self._state != scene.state:
                self._state = scene.state
                self._update_body = self._graph_body = ()
                self._compact_bodies.clear()

    def _update(self) -> PositionUpdate:
        variant, scene = self.variant, self._scene
        compressed = variant.encoding is Encoding.LZ4
        nodes = scene.visible_nodes(self._subset)
        return PositionUpdate(nodes, scene.settled, _PLACEHOLDER if variant.timed else None, compressed)

    def _graph(self) -> FullGraph:
        variant, scene, subset = self.variant, self._scene, self._subset
        metadata = subset.metadata if variant.metadata else None
        trailer = _PLACEHOLDER if variant.timed else None
        nodes = scene.visible_nodes(subset)
        return FullGraph(nodes, subset.edges, metadata, trailer, variant.encoding is not Encoding.RAW)

    def _compact_body(self, history: History | None) -> tuple[Pieces, History]:
        assert self._view is not None
        scene = self._scene
        section, after = scene.compact_section(self._view, history)
        trailer = _PLACEHOLDER if self.variant.timed else None
        message = CompactUpdate(self._view.count, section, scene.settled, trailer)
        return self._without_trailer(message), after

    def _without_trailer(self, message: PositionUpdate | CompactUpdate | FullGraph) -> Pieces:
        *pieces, trailer = encode_parts(message)
        return frame_header(sum(map(len, pieces)) + len(trailer)), *pieces

    def _trailer(self, sequence: int, interval_us: int) -> bytes:
        return TRAILER.pack(sequence, self._scene.timestamp_us, interval_us) if self.variant.timed else b""


_PLACEHOLDER: Final = Trailer(0, 0, 0)
