"""What each file of a recording begins with: the newest graph and positions, and a fingerprint of the graph."""

from __future__ import annotations

import hashlib
import json

from vfctl.capture.message import flags_of
from vfctl.errors import ProtocolError
from vfctl.protocol import Flag, FullGraph, MessageType, PositionUpdate, decode, encode
from vfctl.protocol.position_decoder import PositionDecoder


class HeaderState:
    """Follows what a server sends, and knows at any time which messages a new file must begin with."""

    def __init__(self) -> None:
        self._graph: bytes | None = None
        self._update: bytes | None = None
        self._chain: PositionDecoder | None = None
        self._newest: PositionUpdate | None = None

    def take(self, payload: bytes) -> None:
        """Follow one V4 message from the server."""
        if payload[1] == MessageType.FULL_GRAPH:
            self._graph, self._update, self._chain, self._newest = payload, None, None, None
        elif payload[1] == MessageType.POSITION_UPDATE:
            if Flag.COMPACT in flags_of(payload):
                self._follow(payload)
            else:
                self._update, self._chain, self._newest = payload, None, None

    def payloads(self) -> list[bytes] | None:
        """The newest FullGraph and PositionUpdate as received, if there are any.

        In a COMPACT chain, the update is a key frame of the newest two states. Later updates decode from it as they
        would from the whole chain. None if no file may begin here, because the newest COMPACT update was not decodable.
        """
        if self._chain is not None:
            newest = self._newest
            key = self._chain.key_frame(newest.settled, newest.trailer) if newest else None
            if key is None:
                return None
            self._update = encode(key)
        return [payload for payload in (self._graph, self._update) if payload is not None]

    def _follow(self, payload: bytes) -> None:
        """Follow a COMPACT chain from its graph on."""
        if self._chain is None:
            self._chain = PositionDecoder()
            if self._graph is not None:
                self._feed(self._graph)
        self._newest = self._feed(payload)

    def _feed(self, payload: bytes) -> PositionUpdate | None:
        assert self._chain is not None
        try:
            message = self._chain.decode(decode(payload))
        except ProtocolError:
            return None  # it is recorded as received, although it is damaged
        return message if isinstance(message, PositionUpdate) else None


def graph_facts(payload: bytes) -> dict[str, str]:
    """Size and fingerprint of the graph of a FullGraph, for metadata; empty if it cannot be decoded.

    Two recordings have the same `graph_sha256` if ids, edges, labels, kinds, depths and clusters are equal and in the
    same order. Positions and encoding do not matter.
    """
    try:
        graph = decode(payload)
    except ProtocolError:
        return {}
    if not isinstance(graph, FullGraph):
        return {}
    digest = hashlib.sha256(graph.nodes["id"].astype("<u4").tobytes())
    digest.update(graph.edges.tobytes())
    if graph.metadata is not None:
        columns = (graph.metadata.label, graph.metadata.kind, graph.metadata.depth, graph.metadata.cluster)
        digest.update(json.dumps(columns).encode())
    return {
        "graph_sha256": digest.hexdigest(),
        "graph_nodes": str(len(graph.nodes)),
        "graph_edges": str(len(graph.edges)),
    }
