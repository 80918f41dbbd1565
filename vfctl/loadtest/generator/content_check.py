"""Whether frames hold what they should: samples are decoded whole, and one client's COMPACT chain is followed."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from vfctl.errors import ProtocolError
from vfctl.loadtest.generator.frames import Arrived
from vfctl.loadtest.generator.observations import Observations
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.protocol import CompactUpdate, FullGraph, Message, MessageType, PositionDecoder, PositionUpdate, decode
from vfctl.protocol.compact import check_section

STATE_TYPES: Final = frozenset({int(MessageType.FULL_GRAPH), int(MessageType.POSITION_UPDATE)})
"""What has positions, and is counted as a frame."""


class ContentCheck:
    """Looks into messages of which the whole payload was kept.

    A sample of a COMPACT chain tells little by itself: its CRC-32 takes the FullGraph, its positions all updates since
    the last key frame. So one client is followed, the first attentive one that connects, and each of its frames is
    decoded as a viewer would; when it is gone, the next one that connects. At 10,000 nodes and 20 Hz that takes 2.5 %
    of a core.

    Args:
        errors: where failures are counted, by kind.
        compact: whether the clients ask for COMPACT; nobody is followed if not.
    """

    def __init__(self, errors: Counter[str], compact: bool = False) -> None:
        self._errors = errors
        self._compact = compact
        self._followed: SimulatedClient | None = None
        self._positions = PositionDecoder()
        self._broken = False

    def connected(self, client: SimulatedClient) -> None:
        """Its connection is open, nothing of the stream has been read: follow it, if nobody else is followed."""
        taken = self._followed is not None and self._followed is not client and self._followed.reader is not None
        if not self._compact or taken or not client.attentive or client.reader is None:
            return
        client.reader.keeps_all = True
        self._followed = client
        self._positions = PositionDecoder()
        self._broken = False

    def check(self, client: SimulatedClient, arrived: Arrived, seen: Observations | None) -> None:
        """A message whose payload may have been kept: what the reader took for a good frame must be one.

        Args:
            seen: where it is counted; None between two stages.
        """
        if arrived.type_id not in STATE_TYPES:
            return
        followed = client is self._followed
        if not followed and (seen is None or not arrived.sampled):
            return
        wrong = self._fault_of(arrived.payload or b"", followed)
        if seen is not None:
            seen.sampled += 1
            if wrong:
                seen.wrong += 1
                self._errors[wrong] += 1

    def _fault_of(self, payload: bytes, followed: bool) -> str:
        """What is wrong with it; nothing if it is as it should be."""
        try:
            message = self._follow(payload) if followed else decode(payload)
            if isinstance(message, CompactUpdate):
                check_section(message.section, message.count)
                return ""
        except ProtocolError as error:
            if self._broken and followed:
                return "wrong bytes: COMPACT frames after a wrong one, up to the next key frame"
            self._broken = followed
            return f"wrong bytes: {error.message}"
        assert isinstance(message, FullGraph | PositionUpdate)
        motion = message.nodes.view(np.float32).reshape(-1, 7)[:, 1:] if len(message.nodes) else np.zeros((0, 6))
        own_ids = not (isinstance(message, PositionUpdate) and message.compact)  # else they are the FullGraph's
        if not np.isfinite(motion).all() or (own_ids and len(np.unique(message.nodes["id"])) != len(message.nodes)):
            return "wrong nodes: positions that are not finite, or ids that occur twice"
        return ""

    def _follow(self, payload: bytes) -> Message:
        message = self._positions.feed(decode(payload))
        self._broken = False
        return message
