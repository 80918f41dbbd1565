"""Checks the content of frames: decodes samples whole, and follows the COMPACT chain of one client."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from vfctl.errors import ProtocolError
from vfctl.loadtest.generator.frames import ReceivedMessage
from vfctl.loadtest.generator.observations import Observations
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.protocol import CompactUpdate, FullGraph, Message, MessageType, PositionDecoder, PositionUpdate, decode
from vfctl.protocol.compact import check_section

STATE_TYPES: Final = frozenset({int(MessageType.FULL_GRAPH), int(MessageType.POSITION_UPDATE)})
"""Messages with positions; they are counted as frames."""


class ContentCheck:
    """Checks messages whose whole payload was kept.

    A sample of a COMPACT chain proves little by itself. Its CRC-32 needs the FullGraph, and its positions need all
    updates since the last key frame. So one client is followed, the first attentive one that connects, and each of its
    frames is decoded as a viewer would decode it. When it disconnects, the next client that connects is followed. At
    10,000 nodes and 20 Hz that costs 2.5 % of a core.

    Args:
        errors: where failures are counted, by kind.
        compact: whether the clients ask for COMPACT; if not, no client is followed.
    """

    def __init__(self, errors: Counter[str], compact: bool = False) -> None:
        self._errors = errors
        self._compact = compact
        self._followed: SimulatedClient | None = None
        self._positions = PositionDecoder()
        self._broken = False

    def on_connected(self, client: SimulatedClient) -> None:
        """Follow a client whose connection has just opened, if no other client is followed."""
        busy = self._followed is not None and self._followed is not client and self._followed.reader is not None
        if not self._compact or busy or not client.attentive or client.reader is None:
            return
        client.reader.keeps_all = True
        self._followed = client
        self._positions = PositionDecoder()
        self._broken = False

    def check(self, client: SimulatedClient, message: ReceivedMessage, seen: Observations | None) -> None:
        """Check a message that the reader took for a good one, if its payload was kept.

        Args:
            seen: where it is counted; None between two stages.
        """
        if message.type_id not in STATE_TYPES:
            return
        followed = client is self._followed
        if not followed and (seen is None or not message.sampled):
            return
        fault = self._fault_of(message.payload or b"", followed)
        if seen is not None:
            seen.sampled += 1
            if fault:
                seen.wrong += 1
                self._errors[fault] += 1

    def _fault_of(self, payload: bytes, followed: bool) -> str:
        """What is wrong with a payload; empty if nothing is."""
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
        message = self._positions.decode(decode(payload))
        self._broken = False
        return message
