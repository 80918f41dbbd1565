"""One simulated client: its socket, its life cycle, and the state of its stream."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.client.lifecycle import LifeCycle
from vfctl.loadtest.generator.behaviour import Script
from vfctl.loadtest.generator.frames import FrameReader

SEQUENCE, DUE_US, INTERVAL_US, WHOLE_BYTES, ROLE, AFTER_GRAPH, SETTLED, STREAM_WORDS = range(8)
"""Indices into a client's stream state, int64 [STREAM_WORDS]. It is an array because compiled loops use it, too."""


class _StreamWord:
    """An attribute that is kept in one word of the client's stream state."""

    def __init__(self, index: int) -> None:
        self._index: Final = index

    def __get__(self, client: SimulatedClient, owner: type) -> int:
        return int(client.stream[self._index])

    def __set__(self, client: SimulatedClient, value: int) -> None:
        client.stream[self._index] = value


@dataclass(slots=True, eq=False)
class SimulatedClient:
    """A small object, because one process has tens of thousands of them.

    Attributes:
        number: index of the client in its process.
        role: index of its role among those of the shard.
        attentive: it reads as fast as it can.
        stream: int64 [STREAM_WORDS], its row in the array of all clients.
        wanted: it should be connected in the present stage.
        away: it is disconnected because its role requires that.
        script: the actions of its role; None if there are none.
        life: the state of its connection.
        socket: its connection; None while there is none.
        reader: the frame that is being received; None until the handshake is done.
        handshake: the part of the server's response that has arrived so far.
        key: its Sec-WebSocket-Key.
        attempt: counts connection attempts, so that timers of earlier attempts can be ignored.
        opening: a connection attempt is in progress.
        started_ns: when the present attempt began, monotonic.
        ever_connected: it has been Connected at least once.
        lost_ns: when its connection was lost, monotonic; 0 if it was not.
        sequence: the newest sequence number that it has seen; -1 before the first.
        after_graph: the next update may repeat the sequence number of the FullGraph before it.
        settled: the newest update had the SETTLED flag.
        interval_us: the interval that the newest trailer announced; 0 if unknown.
        due_us: when the next update is due, unix time; 0 if unknown.
        whole_bytes: size of the next read if it can bring exactly one whole update like the last one; 0 if Python code
            has to handle it. With it, most messages need neither `life` nor `reader`.
    """

    number: int
    role: int = 0
    attentive: bool = True
    stream: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(STREAM_WORDS, np.int64))
    wanted: bool = False
    away: bool = False
    script: Script | None = None
    life: LifeCycle = field(default_factory=LifeCycle)
    socket: socket.socket | None = None
    reader: FrameReader | None = None
    handshake: bytes = b""
    key: str = ""
    attempt: int = 0
    opening: bool = False
    started_ns: int = 0
    ever_connected: bool = False
    lost_ns: int = 0

    sequence = _StreamWord(SEQUENCE)
    after_graph = _StreamWord(AFTER_GRAPH)
    settled = _StreamWord(SETTLED)
    interval_us = _StreamWord(INTERVAL_US)
    due_us = _StreamWord(DUE_US)
    whole_bytes = _StreamWord(WHOLE_BYTES)

    def __post_init__(self) -> None:
        self.stream[ROLE] = self.role
        self.restart_stream()

    def cancel_due_update(self) -> None:
        """The client leaves by itself, so no update is due."""
        self.due_us = self.interval_us = 0

    def restart_stream(self) -> None:
        """Begin a new connection, perhaps to another gateway with other sequence numbers. The next update stays due,
        because it was announced.
        """
        self.sequence = -1
        self.after_graph = False

    def on_full_graph(self, sequence: int) -> None:
        """A FullGraph restarts the sequence."""
        self.sequence = sequence
        self.after_graph = True

    def on_update(self, sequence: int) -> tuple[int, int, int]:
        """Check the sequence number of an update.

        The first update after a FullGraph has the same number if this client was still due in that interval, else
        the next number.

        Returns:
            (missing, repeated, reordered): updates missing before this one; whether it repeats the last one; whether
            it is older. The latter two are 0 or 1.
        """
        last, after_graph = self.sequence, self.after_graph
        self.after_graph = False
        if last < 0 or sequence > last:
            self.sequence = sequence
            return (0 if last < 0 else sequence - last - 1), 0, 0
        if sequence == last:
            return 0, int(not after_graph), 0
        return 0, 0, 1
