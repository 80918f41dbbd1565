"""One simulated client: a bare socket, the life cycle, and what it has noticed of its stream."""

from __future__ import annotations

import socket

from vfctl.client.lifecycle import LifeCycle
from vfctl.loadtest.frames import FrameReader


class SimulatedClient:
    """Small on purpose: tens of thousands of them live in one process.

    Attributes:
        number: which one it is, from 0, in its process.
        life: where its connection stands.
        socket: its connection, None while there is none.
        reader: what has arrived of a frame; None until the handshake is done.
        handshake: the server's answer as far as it has arrived; until the handshake is done.
        key: its Sec-WebSocket-Key.
        attempt: counts connection attempts, so that a time-out knows whether it still matters.
        started_ns: when the present attempt began, monotonic.
        ever_connected: it has been Connected at least once.
        sequence: the last round it has seen; -1 before the first.
    """

    __slots__ = (
        "attempt",
        "ever_connected",
        "handshake",
        "key",
        "life",
        "number",
        "reader",
        "sequence",
        "socket",
        "started_ns",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.life = LifeCycle()
        self.socket: socket.socket | None = None
        self.reader: FrameReader | None = None
        self.handshake = b""
        self.key = ""
        self.attempt = 0
        self.started_ns = 0
        self.ever_connected = False
        self.sequence = -1

    def full_graph(self, sequence: int) -> None:
        """A FullGraph restarts the count."""
        self.sequence = sequence

    def position_update(self, sequence: int) -> int:
        """Take note of a round; returns how many are missing before it.

        The first one behind a FullGraph has its number, if this client's turn in that round was still to come, or
        the next.
        """
        last, self.sequence = self.sequence, sequence
        return 0 if last < 0 else max(0, sequence - last - 1)
