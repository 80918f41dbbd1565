"""A slot for each connection: arrays of what a tick needs to know about all due connections.

A tick serves thousands of connections. Reading the attributes of each object would cost a seventh of a frame's time,
because the objects are in no CPU cache when a tick begins. So the arrays hold what decides about a frame. They change
when something happens to a connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vfctl.server.gateway.connection import Connection
from vfctl.stream import Audience

Slots = npt.NDArray[np.int32]

VOICE_PLAIN: Final = 1
VOICE_TIMED: Final = 2

_INITIAL_SLOTS: Final = 64


class ConnectionSlots:
    """Connections by slot, a small number that is reused once it is free.

    Attributes:
        fds: int32 [slots], the file descriptors of the transports.
        direct_write: bool [slots], True if frames may be written to the descriptor directly, bypassing the transport.
            That is safe while the transport has no buffered bytes, is not closing, and no FullGraph is pending.
            Code that writes to a transport sets it to False. Code that finds nothing buffered sets it to True.
        voice_mode: int8 [slots]: 0 without voice, VOICE_PLAIN or VOICE_TIMED.
        voice_limit_bytes: int32 [slots]. A client with more unsent bytes gets no voice: half a frame.
    """

    def __init__(self) -> None:
        self._connections: list[Connection | None] = []
        self._free: list[int] = []
        self._audiences = np.zeros(_INITIAL_SLOTS, np.int64)
        self.fds = np.full(_INITIAL_SLOTS, -1, np.int32)
        self.direct_write = np.zeros(_INITIAL_SLOTS, np.bool_)
        self.voice_mode = np.zeros(_INITIAL_SLOTS, np.int8)
        self.voice_limit_bytes = np.zeros(_INITIAL_SLOTS, np.int32)

    def __getitem__(self, slot: int) -> Connection:
        connection = self._connections[slot]
        assert connection is not None, f"slot {slot} is free"
        return connection

    def assign(self, connection: Connection) -> None:
        """Assign a free slot. Direct writes are disabled at first."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._connections[slot] = connection
        connection.slot = slot
        self.fds[slot] = connection.fd
        self.direct_write[slot] = False
        options = connection.options
        self.voice_mode[slot] = (VOICE_TIMED if options.variant.timed else VOICE_PLAIN) if options.voice else 0
        self.set_audience(connection, connection.audience)

    def release(self, connection: Connection) -> None:
        """Free the connection's slot. A connection without one is ignored."""
        slot = connection.slot
        if slot >= 0:
            self._connections[slot] = None
            self._free.append(slot)
            self.fds[slot] = connection.slot = -1
            self.direct_write[slot] = False
            self.voice_mode[slot] = 0

    def disable_direct_write(self, connection: Connection) -> None:
        """Bytes are or will be buffered in its transport: the next frame must check there first."""
        if connection.slot >= 0:
            self.direct_write[connection.slot] = False

    def set_audience(self, connection: Connection, audience: Audience) -> None:
        """The connection receives this audience's frames from now on."""
        connection.audience = audience
        self._audiences[connection.slot] = id(audience)
        if self.voice_mode[connection.slot]:
            self.voice_limit_bytes[connection.slot] = audience.largest_update_bytes() // 2

    def by_audience(self, slots: Slots) -> Iterator[tuple[Audience, Slots]]:
        """Group slots, int32 [connections], by audience."""
        if not len(slots):
            return
        audiences = self._audiences.take(slots)
        if (audiences == audiences[0]).all():
            yield self[int(slots[0])].audience, slots
            return
        order = np.argsort(audiences, kind="stable")
        ends = np.flatnonzero(np.diff(audiences[order])) + 1
        for group in np.split(slots[order], ends):
            yield self[int(group[0])].audience, group

    def _grow(self) -> None:
        old = len(self._connections)
        new = max(_INITIAL_SLOTS, 2 * old)
        self._connections.extend([None] * (new - old))
        self._free.extend(range(new - 1, old - 1, -1))
        self.fds = _grown(self.fds, new, -1)
        self.direct_write = _grown(self.direct_write, new, False)
        self.voice_mode = _grown(self.voice_mode, new, 0)
        self.voice_limit_bytes = _grown(self.voice_limit_bytes, new, 0)
        self._audiences = _grown(self._audiences, new, 0)


def _grown(column: npt.NDArray[Any], size: int, fill: int) -> npt.NDArray[Any]:
    grown = np.full(size, fill, column.dtype)
    grown[: len(column)] = column[:size]
    return grown
