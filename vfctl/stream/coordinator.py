"""Who is due: the throttle of the description (50 ms active, 1000 ms stable), spread over all connections."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.stream.intervals import SLOTS, OverloadController, RoundClock, Turn

CLIENTS_PER_SHARE: Final = 4 * SLOTS
"""For each so many clients, one more of a group shares a slot: at 50,000 of them 14, while 52 are in each slot."""

MAX_OPEN_SLOTS: Final = 4096
"""Groups whose last slot is remembered; clients can think of any number of filters."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a connection is served, in µs."""

    active_us: int = 50_000
    stable_us: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Due:
    """Clients that are served now, int32 [due], all with the round number `sequence`."""

    sequence: int
    clients: npt.NDArray[np.int32]


class ClientCoordinator:
    """Gives every client one turn a round, at its own phase, and says whose turn it is.

    Each slot of the round holds its clients, so a tick touches those that are due and no others. Clients are numbers,
    from 0 and below 2³¹.

    Args:
        intervals: pace while the layout moves, and once it is stable.
        now_us: any clock that does not go back, in µs.

    Attributes:
        overload: what lengthens the interval when the work does not fit.
    """

    def __init__(self, intervals: Intervals, now_us: int) -> None:
        self.overload = OverloadController(now_us)
        self._intervals = intervals
        self._wanted_us = intervals.active_us
        self._clock = RoundClock(intervals.active_us, now_us)
        self._slots = [array("i") for _ in range(SLOTS)]
        self._in_order: npt.NDArray[np.int32] | None = None
        self._starts: list[int] = []
        self._slot_of: dict[int, int] = {}
        self._open_slots: dict[Hashable, tuple[int, int]] = {}
        self._next_slot = 0
        self._rotation = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def sequence(self) -> int:
        """The number of the present round."""
        return self._clock.sequence

    @property
    def interval_us(self) -> int:
        """The present length of a round: what a trailer promises until the next one."""
        return self._clock.interval_us

    @property
    def wanted_us(self) -> int:
        """What it would be if all the work fitted."""
        return self._wanted_us

    def set_settled(self, settled: bool) -> None:
        """Go to the stable interval, or at once back to the active one; or to what the work allows."""
        if self._clock.waits:
            return
        self._wanted_us = self._intervals.stable_us if settled else self._intervals.active_us
        self._clock.interval_us = self.overload.interval_us(self._wanted_us)

    def begin_round(self, now_us: int, next_us: int) -> list[Due]:
        """A state has come that is the only one for so long, and each client is to get it once: a recorded one.

        Rounds then follow the states. (At a pace of their own, clients whose turn falls together with a state's coming
        would see one of them twice and another never.) Half of the clients are served at once, the others at the next
        tick. If states come faster than twice the active rate, rounds keep their own pace, and serve the newest. A
        gateway that has no time for all states need not be told: it finds only the newest of those that wait for it.

        Args:
            next_us: until the next state.

        Returns:
            those who have not got the state before yet; it is theirs now.
        """
        active_us = self._intervals.active_us
        if next_us < active_us // 2:
            self._clock.go_on()
            return []
        self._wanted_us = self._clock.interval_us = next_us
        stable_us = self._intervals.stable_us
        wait_us = min(next_us, stable_us) + stable_us // 2
        return self._served(self._clock.begin_round(now_us, _PARTS, wait_us))

    def tick_done(self, busy_us: int, now_us: int, awake_us: Callable[[], int | None] = lambda: None) -> None:
        """All that the last call of `due` gave has been written, to the last byte that the kernel took.

        Args:
            busy_us: how long that took.
            awake_us: see `OverloadController.tick`.
        """
        self.overload.tick(busy_us, self._clock.advanced_us, self.interval_us, now_us, awake_us)
        if not self._clock.waits:
            self._clock.interval_us = self.overload.interval_us(self._wanted_us)

    def add(self, client: int, group: Hashable = None) -> None:
        """Give a client a phase; its first turn comes within one interval.

        Phases follow the golden ratio, so those who join one after the other are spread evenly however many
        they are (Knuth, The Art of Computer Programming, vol. 3, 6.4: Fibonacci hashing).

        Args:
            group: clients of one group receive the same bytes. When there are many clients, some of a group share a
                phase: what they receive is then made once for all of them, not once for each.
        """
        slot, room = self._open_slots.get(group, (0, 0))
        if not room:
            slot, room = self._next_slot, 1 + len(self._slot_of) // CLIENTS_PER_SHARE
            self._next_slot = (slot + _GOLDEN_STEP) % SLOTS
        self._open_slots[group] = (slot, room - 1)
        if len(self._open_slots) > MAX_OPEN_SLOTS:
            self._open_slots.clear()
        self._slots[slot].append(client)
        self._in_order = None
        self._slot_of[client] = slot

    def move(self, client: int, group: Hashable) -> None:
        """A client belongs to another group from now on. It is sent a FullGraph, which restarts its count of rounds."""
        self.remove(client)
        self.add(client, group)

    def remove(self, client: int) -> None:
        """Forget a client; one that is not there is none of our business."""
        slot = self._slot_of.pop(client, None)
        if slot is not None:
            self._slots[slot].remove(client)
            self._in_order = None

    def due(self, now_us: int) -> list[Due]:
        """Whose turn has come since the last call, by round (two at most).

        The order within a call rotates from call to call: nobody is always the last to be written to.
        """
        return self._served(self._clock.advance(now_us))

    def _served(self, turns: list[Turn]) -> list[Due]:
        if self._in_order is None:
            self._in_order = np.frombuffer(b"".join(self._slots), np.int32)
            self._starts = [0, *accumulate(map(len, self._slots))]
        groups = []
        for turn in turns:
            clients = self._in_order[self._starts[turn.first] : self._starts[turn.end]]
            if not len(clients):
                continue
            self._rotation += _GOLDEN_STEP
            start = self._rotation % len(clients)
            groups.append(Due(turn.sequence, np.concatenate((clients[start:], clients[:start]))))
        return groups


_PARTS: Final = 2
"""Ticks over which the turns of a recorded state are spread; more would meet the next state if that comes early."""

_GOLDEN_STEP = 593
"""960 times the golden ratio, to the nearest number that shares no factor with 960: visits every slot."""
