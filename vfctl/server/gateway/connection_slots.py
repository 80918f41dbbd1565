"""A place for each connection, and in arrays what a tick wants to know of all those whose turn it is.

A tick serves thousands of connections. Looking at the objects of each one costs about a seventh of what its frame
does: they are in no cache when a tick begins. So what decides about a frame is kept here, and changed when something
happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vfctl.server.gateway.connection import Connection
from vfctl.stream import Audience

Places = npt.NDArray[np.int32]

PLAIN: Final = 1
TIMED: Final = 2

_FIRST_PLACES: Final = 64


class Roster:
    """Connections by place, a small number that is given again once it is free.

    Attributes:
        fds: int32 [places], the transports' descriptors.
        in_step: bool [places]. True only while nothing waits in the transport, it is not closing, and the connection is
            owed nothing but states: then frames may be sent past the transport. Whoever writes to a transport, or
            learns that it closes, sets it to False; who has looked and found nothing waiting, to True.
        hears: int8 [places], how each listens to speech: not at all, PLAIN or TIMED.
        voice_room: int32 [places], with how many unsent bytes it is still sent speech: half a frame.
    """

    def __init__(self) -> None:
        self._connections: list[Connection | None] = []
        self._free: list[int] = []
        self._audiences = np.zeros(_FIRST_PLACES, np.int64)
        self.fds = np.full(_FIRST_PLACES, -1, np.int32)
        self.in_step = np.zeros(_FIRST_PLACES, np.bool_)
        self.hears = np.zeros(_FIRST_PLACES, np.int8)
        self.voice_room = np.zeros(_FIRST_PLACES, np.int32)

    def __getitem__(self, place: int) -> Connection:
        connection = self._connections[place]
        assert connection is not None, f"nobody is at place {place}"
        return connection

    def take(self, connection: Connection) -> None:
        """Give it a place; it is not in step yet."""
        if not self._free:
            self._grow()
        place = self._free.pop()
        self._connections[place] = connection
        connection.place = place
        self.fds[place] = connection.fd
        self.in_step[place] = False
        subscription = connection.subscription
        self.hears[place] = (TIMED if subscription.variant.timed else PLAIN) if subscription.voice else 0
        self.watch(connection, connection.audience)

    def give_back(self, connection: Connection) -> None:
        """Its place is free."""
        place = connection.place
        if place >= 0:
            self._connections[place] = None
            self._free.append(place)
            self.fds[place] = connection.place = -1
            self.in_step[place] = False
            self.hears[place] = 0

    def watch(self, connection: Connection, audience: Audience) -> None:
        """It belongs to this audience from now on."""
        connection.audience = audience
        self._audiences[connection.place] = id(audience)
        if self.hears[connection.place]:
            self.voice_room[connection.place] = audience.largest_update_bytes() // 2

    def by_audience(self, places: Places) -> Iterator[tuple[Audience, Places]]:
        """Those who share an audience, together."""
        if not len(places):
            return
        audiences = self._audiences.take(places)
        if (audiences == audiences[0]).all():
            yield self[int(places[0])].audience, places
            return
        order = np.argsort(audiences, kind="stable")
        ends = np.flatnonzero(np.diff(audiences[order])) + 1
        for together in np.split(places[order], ends):
            yield self[int(together[0])].audience, together

    def _grow(self) -> None:
        old = len(self._connections)
        new = max(_FIRST_PLACES, 2 * old)
        self._connections.extend([None] * (new - old))
        self._free.extend(range(new - 1, old - 1, -1))
        self.fds = _grown(self.fds, new, -1)
        self.in_step = _grown(self.in_step, new, False)
        self.hears = _grown(self.hears, new, 0)
        self.voice_room = _grown(self.voice_room, new, 0)
        self._audiences = _grown(self._audiences, new, 0)


def _grown(column: npt.NDArray[Any], size: int, filling: int) -> npt.NDArray[Any]:
    grown = np.full(size, filling, column.dtype)
    grown[: len(column)] = column[:size]
    return grown
