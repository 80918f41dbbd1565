"""Which clients are due: each once in an interval, 50 ms while the layout moves and 1000 ms once it is stable."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.stream.intervals import SLOTS, IntervalClock, OverloadController, SlotRange

CLIENTS_PER_SHARE: Final = 4 * SLOTS
"""For each this many clients, one more client of a group shares a slot. At 50,000 clients 14 do, of 52 in each slot."""

MAX_OPEN_SLOTS: Final = 4096
"""Groups whose last slot is remembered. It is bounded because clients may set any number of filters."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a connection is served, in µs: while the layout moves, and once it is stable."""

    active_us: int = 50_000
    stable_us: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Due:
    """Clients that are served now.

    Attributes:
        sequence: number of the interval.
        clients: int32 [due].
    """

    sequence: int
    clients: npt.NDArray[np.int32]


class ClientCoordinator:
    """Gives every client its own phase, and says which clients are due.

    Each slot of the interval holds its clients, so a tick touches only those that are due. Clients are numbers, from 0
    and below 2³¹.

    Args:
        intervals: how often clients are served.
        now_us: any clock that does not go back, in µs.

    Attributes:
        overload: makes the interval longer when the work does not fit.
    """

    def __init__(self, intervals: Intervals, now_us: int) -> None:
        self.overload = OverloadController(now_us)
        self._intervals = intervals
        self._target_us = intervals.active_us
        self._clock = IntervalClock(intervals.active_us, now_us)
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
        """The number of the current interval."""
        return self._clock.sequence

    @property
    def interval_us(self) -> int:
        """The current interval in µs, as the trailer of a frame promises it."""
        return self._clock.interval_us

    @property
    def target_us(self) -> int:
        """The interval in µs that is served when all the work fits."""
        return self._target_us

    def set_settled(self, settled: bool) -> None:
        """Change to the stable or the active interval, or to the shortest that the work allows."""
        if self._clock.is_waiting:
            return
        self._target_us = self._intervals.stable_us if settled else self._intervals.active_us
        self._clock.interval_us = self.overload.interval_us(self._target_us)

    def begin_interval(self, now_us: int, next_us: int) -> list[Due]:
        """Begin an interval because a recorded state came, which each client is to get exactly once.

        Intervals then follow the states. (At a pace of their own, a client whose slot comes at about the time of a new
        state would get one state twice and another never.) Half of the clients are served at once, the others in the
        next tick. If states come faster than twice the active rate, intervals keep their own pace and clients get the
        newest state. A gateway that is too slow for all states finds only the newest of those that wait.

        Args:
            next_us: time until the next state, in µs.

        Returns:
            The clients that have not got the state before yet. It is to be sent to them now.
        """
        active_us = self._intervals.active_us
        if next_us < active_us // 2:
            self._clock.resume()
            return []
        self._target_us = self._clock.interval_us = next_us
        stable_us = self._intervals.stable_us
        wait_us = min(next_us, stable_us) + stable_us // 2
        return self._clients_of(self._clock.begin_interval(now_us, _PARTS, wait_us))

    def tick_done(self, busy_us: int, now_us: int, awake_us: Callable[[], int | None] = lambda: None) -> None:
        """Record that the frames of the last call of `due` have been written.

        Args:
            busy_us: how long that took, to the last byte that the kernel took, in µs.
            awake_us: see `OverloadController.tick`.
        """
        self.overload.tick(busy_us, self._clock.covered_us, self.interval_us, now_us, awake_us)
        if not self._clock.is_waiting:
            self._clock.interval_us = self.overload.interval_us(self._target_us)

    def add(self, client: int, group: Hashable = None) -> None:
        """Give a client a phase. It is due for the first time within one interval.

        Phases follow the golden ratio, so clients that join one after the other are spread evenly, however many they
        are (Knuth, The Art of Computer Programming, vol. 3, 6.4: Fibonacci hashing).

        Args:
            group: clients of one group receive the same bytes. When there are many clients, some of a group share a
                slot, because their frame is then encoded once for all of them.
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
        """Put a client into another group. The caller sends it a FullGraph, which restarts its sequence."""
        self.remove(client)
        self.add(client, group)

    def remove(self, client: int) -> None:
        """Remove a client, if it is there."""
        slot = self._slot_of.pop(client, None)
        if slot is not None:
            self._slots[slot].remove(client)
            self._in_order = None

    def due(self, now_us: int) -> list[Due]:
        """Return the clients that became due since the last call, by interval (two at most).

        The order within a call rotates from call to call, so no client is always the last to be written to.
        """
        return self._clients_of(self._clock.advance(now_us))

    def _clients_of(self, ranges: list[SlotRange]) -> list[Due]:
        if self._in_order is None:
            self._in_order = np.frombuffer(b"".join(self._slots), np.int32)
            self._starts = [0, *accumulate(map(len, self._slots))]
        groups = []
        for slots in ranges:
            clients = self._in_order[self._starts[slots.first] : self._starts[slots.end]]
            if not len(clients):
                continue
            self._rotation += _GOLDEN_STEP
            start = self._rotation % len(clients)
            groups.append(Due(slots.sequence, np.concatenate((clients[start:], clients[:start]))))
        return groups


_PARTS: Final = 2
"""Ticks over which the clients of a recorded state are spread. With more, a next state that is early would collide."""

_GOLDEN_STEP = 593
"""960 times the golden ratio, to the nearest number that shares no factor with 960: visits every slot."""
