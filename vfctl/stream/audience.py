"""One encoding and one WebSocket framing for all connections that ask for the same."""

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
"""Bytes that follow one another."""

KEPT_STATES: Final = 128
"""States that COMPACT frames can be predicted from: two seconds at 60 Hz, so that clients which are served once a
second need no key frames."""


class Scene:
    """The present state of the graph, and the audiences that watch it.

    Args:
        graph: who is there and who is linked to whom.
        nodes: NODE_DTYPE [nodes], in the graph's node order.
        settled: whether the layout is stable.
        timestamp_us: unix time in µs at which this was valid.
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
        """Grows whenever what would be sent changes, if only in its time."""
        self.state = 0
        """Grows whenever more than its time changes."""

    def update(self, nodes: Nodes, settled: bool, timestamp_us: int) -> None:
        """A new state, NODE_DTYPE [nodes]."""
        self.nodes, self.settled = nodes, settled
        self.state += 1
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
        """What a filter leaves of the graph; hold it for as long as it may be asked for again."""
        return self._index.subset(criteria)

    def visible_nodes(self, subset: Subset) -> Nodes:
        """NODE_DTYPE [kept nodes]: the present state of those that a filter keeps, gathered once a state."""
        nodes = self._gathered.get(subset)
        if nodes is None:
            nodes = self._gathered[subset] = subset.gather(self.nodes)
        return nodes

    def view(self, subset: Subset) -> View:
        """The nodes that a filter keeps, as the COMPACT encoding wants them."""
        indices = subset.indices
        return View(self._graph.ids if indices is None else self._graph.ids[indices], indices)

    def compact_section(self, view: View, history: History | None) -> tuple[bytes, History]:
        """The present state for connections that have `history`, see `CompactEncoder.section`.

        States get their numbers whether or not they are sent to anybody, so prediction takes the numbers for times; and
        one is put on the grid when somebody first needs it.
        """
        if self._compact.position != self.state:
            self._compact.push(self.state, positions_of(self.nodes))
        return self._compact.section(view, history)


class Audience:
    """All connections with one variant: they receive the same bytes, made once a state and round.

    What changes from round to round while a layout is at rest is the trailer alone, and it comes last; so all that is
    before it is kept, in pieces, of which nodes are a view of the state.

    Attributes:
        variant: what they speak, and what they watch.
        compact: their updates are COMPACT, which depend on what each connection has: they are `compact_update`s.
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
        """The framed PositionUpdate of the present state for the round `sequence`."""
        self._drop_stale()
        key = (False, sequence, interval_us)
        framed = self._framed.get(key)
        if framed is None:
            framed = self._framed[key] = b"".join(self.position_update_pieces(sequence, interval_us))
        return framed

    def position_update_pieces(self, sequence: int, interval_us: int) -> Pieces:
        """The same, not joined: for those who can write it so."""
        self._drop_stale()
        if not self._update_body:
            self._update_body = self._without_trailer(self._update())
        return *self._update_body, self._trailer(sequence, interval_us)

    def compact_update(self, history: History | None, sequence: int, interval_us: int) -> tuple[bytes, History]:
        """The framed CompactUpdate of the present state for those who have `history`, and what they have with it."""
        self._drop_stale()
        made = self._compact_bodies.get(history)
        if made is None:
            made = self._compact_bodies[history] = self._compact_body(history)
        body, with_it = made
        key = (history or False, sequence, interval_us)
        framed = self._framed.get(key)
        if framed is None:
            framed = self._framed[key] = b"".join((*body, self._trailer(sequence, interval_us)))
        return framed, with_it

    def largest_update_bytes(self) -> int:
        """How long a framed update of the present state is; of COMPACT ones the longest, a key frame."""
        return len(self.compact_update(None, 0, 0)[0] if self.compact else self.position_update(0, 0))

    def full_graph(self, sequence: int, interval_us: int) -> bytes:
        """The framed FullGraph of the subset, in the variant's encoding and with its flags."""
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
        section, with_it = scene.compact_section(self._view, history)
        trailer = _PLACEHOLDER if self.variant.timed else None
        message = CompactUpdate(self._view.count, section, scene.settled, trailer)
        return self._without_trailer(message), with_it

    def _without_trailer(self, message: PositionUpdate | CompactUpdate | FullGraph) -> Pieces:
        *pieces, trailer = encode_parts(message)
        return frame_header(sum(map(len, pieces)) + len(trailer)), *pieces

    def _trailer(self, sequence: int, interval_us: int) -> bytes:
        return TRAILER.pack(sequence, self._scene.timestamp_us, interval_us) if self.variant.timed else b""


_PLACEHOLDER: Final = Trailer(0, 0, 0)
