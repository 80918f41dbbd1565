"""One simulated client: a bare socket, the life cycle, and what it has noticed of its stream."""

from __future__ import annotations

import socket

import numpy as np
import numpy.typing as npt

from vfctl.client.lifecycle import LifeCycle
from vfctl.loadtest.generator.behaviour import Script
from vfctl.loadtest.generator.frames import FrameReader

SEQUENCE, DUE_US, INTERVAL_US, WHOLE_BYTES, ROLE, AFTER_GRAPH, SETTLED, STREAM_WORDS = range(8)
"""What is known of a client's stream is int64 [STREAM_WORDS], where compiled loops can use it: SimulatedClient's
attributes of these names."""


class SimulatedClient:
    """Small on purpose: tens of thousands of them live in one process.

    Args:
        stream: int64 [STREAM_WORDS], a row of all clients'.

    Attributes:
        number: which one it is, from 0, in its process.
        role: what it plays, an index into the shard's roles.
        attentive: it reads as fast as it can.
        wanted: it is to be there in the present stage.
        away: it is not there because its role has it so.
        script: what it does beside watching; None if nothing.
        life: where its connection stands.
        socket: its connection, None while there is none.
        reader: what has arrived of a frame; None until the handshake is done.
        whole_bytes: how large the next read is if it brings just one whole update like the last; 0 if something else
            has to be looked at first. With it most messages need neither `life` nor `reader`.
        handshake: the server's answer as far as it has arrived; until the handshake is done.
        key: its Sec-WebSocket-Key.
        attempt: counts connection attempts, so that a time-out knows whether it still matters.
        opening: an attempt is under way.
        started_ns: when the present attempt began, monotonic.
        ever_connected: it has been Connected at least once.
        lost_ns: when its connection was lost, monotonic; 0 if it was not.
        sequence: the newest round it has seen; -1 before the first.
        after_graph: the next update may have the number of the FullGraph before it.
        settled: the newest update said so.
        interval_us: what the newest trailer promised until the next round; 0 if unknown.
        due_us: when that round is due, unix time; 0 if unknown.
    """

    __slots__ = (
        "attempt",
        "attentive",
        "away",
        "ever_connected",
        "handshake",
        "key",
        "life",
        "lost_ns",
        "number",
        "opening",
        "reader",
        "role",
        "script",
        "socket",
        "started_ns",
        "stream",
        "wanted",
    )

    def __init__(
        self, number: int, role: int = 0, attentive: bool = True, stream: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.stream = np.zeros(STREAM_WORDS, np.int64) if stream is None else stream
        self.stream[ROLE] = role
        self.number = number
        self.role = role
        self.attentive = attentive
        self.wanted = False
        self.away = False
        self.script: Script | None = None
        self.lost_ns = 0
        self.life = LifeCycle()
        self.socket: socket.socket | None = None
        self.reader: FrameReader | None = None
        self.handshake = b""
        self.key = ""
        self.attempt = 0
        self.opening = False
        self.started_ns = 0
        self.ever_connected = False
        self.forget_rounds()

    @property
    def sequence(self) -> int:
        return int(self.stream[SEQUENCE])

    @sequence.setter
    def sequence(self, value: int) -> None:
        self.stream[SEQUENCE] = value

    @property
    def due_us(self) -> int:
        return int(self.stream[DUE_US])

    @due_us.setter
    def due_us(self, value: int) -> None:
        self.stream[DUE_US] = value

    @property
    def interval_us(self) -> int:
        return int(self.stream[INTERVAL_US])

    @interval_us.setter
    def interval_us(self, value: int) -> None:
        self.stream[INTERVAL_US] = value

    @property
    def whole_bytes(self) -> int:
        return int(self.stream[WHOLE_BYTES])

    @whole_bytes.setter
    def whole_bytes(self, value: int) -> None:
        self.stream[WHOLE_BYTES] = value

    @property
    def after_graph(self) -> bool:
        return bool(self.stream[AFTER_GRAPH])

    @after_graph.setter
    def after_graph(self, value: bool) -> None:
        self.stream[AFTER_GRAPH] = value

    @property
    def settled(self) -> bool:
        return bool(self.stream[SETTLED])

    @settled.setter
    def settled(self, value: bool) -> None:
        self.stream[SETTLED] = value

    def expect_nothing(self) -> None:
        """It has left by itself: no round is owed to it."""
        self.due_us = self.interval_us = 0

    def forget_rounds(self) -> None:
        """A new connection: its rounds may be another gateway's. When the next one is due stays: it was promised."""
        self.sequence = -1
        self.after_graph = False

    def full_graph(self, sequence: int) -> None:
        """A FullGraph restarts the count."""
        self.sequence = sequence
        self.after_graph = True

    def position_update(self, sequence: int) -> tuple[int, int, int]:
        """Take note of a round: how many are missing before it, and whether it is a repetition or comes too late.

        The first one behind a FullGraph has its number, if this client's turn in that round was still to come, or
        the next.

        Returns:
            (missing, repeated, reordered), the latter two 0 or 1.
        """
        last, fresh = self.sequence, self.after_graph
        self.after_graph = False
        if last < 0 or sequence > last:
            self.sequence = sequence
            return (0 if last < 0 else sequence - last - 1), 0, 0
        if sequence == last:
            return 0, int(not fresh), 0
        return 0, 0, 1
