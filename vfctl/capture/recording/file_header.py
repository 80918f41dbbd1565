"""What each file of a recording begins with: the newest graph and positions, and a fingerprint of the graph."""

from __future__ import annotations

import hashlib
import json

from vfctl.capture.message import flags_of
from vfctl.errors import ProtocolError
from vfctl.protocol import Flag, FullGraph, MessageType, PositionUpdate, decode, encode
from vfctl.protocol.position_decoder import PositionDecoder


class HeaderState:
    """Follows what a server sends, and can at any time say what a new file has to begin with."""

    def __init__(self) -> None:
        self._graph: bytes | None = None
        self._update: bytes | None = None
        self._chain: PositionDecoder | None = None
        self._newest: PositionUpdate | None = None

    def take(self, payload: bytes) -> None:
        """One whole V4 message from the server."""
        if payload[1] == MessageType.FULL_GRAPH:
            self._graph, self._update, self._chain, self._newest = payload, None, None, None
        elif payload[1] == MessageType.POSITION_UPDATE:
            if Flag.COMPACT in flags_of(payload):
                self._follow(payload)
            else:
                self._update, self._chain, self._newest = payload, None, None

    def payloads(self) -> list[bytes] | None:
        """FullGraph and PositionUpdate, as far as there are any: as they came. Of a COMPACT chain a key frame of its
        newest state and the one before, from which all that comes can be predicted as if the chain had been seen.

        None if no file may begin here: the newest COMPACT update could not be decoded.
        """
        if self._chain is not None:
            newest = self._newest
            key = self._chain.key_frame(newest.settled, newest.trailer) if newest else None
            if key is None:
                return None
            self._update = encode(key)
        return [payload for payload in (self._graph, self._update) if payload is not None]

    def _follow(self, payload: bytes) -> None:
        """The chain has to be followed from its graph on: without it nobody could go on within it."""
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
            return None  # as damaged as it came, it is recorded all the same
        return message if isinstance(message, PositionUpdate) else None


def graph_facts(payload: bytes) -> dict[str, str]:
    """Size and digest of a FullGraph's graph, for a recording's metadata; nothing if it cannot be decoded.

    Two recordings have the same `graph_sha256` if ids, edges, labels, kinds, depths and clusters are the same, in the
    same order; positions do not count, nor does the encoding.
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
