"""What a file has to begin with so that the messages after it can be decoded: the newest graph and positions."""

from __future__ import annotations

from vfctl.capture.captured import flags_of
from vfctl.errors import ProtocolError
from vfctl.protocol import Flag, MessageType, PositionUpdate, decode, encode
from vfctl.protocol.position_decoder import PositionDecoder


class OpeningState:
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
