"""Who is due: the throttle of the description (50 ms active, 1000 ms stable), spread over all connections."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from vfctl.stream.rounds import SLOTS, RoundClock

ClientT = TypeVar("ClientT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a connection is served, in µs."""

    active_us: int = 50_000
    stable_us: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Due(Generic[ClientT]):
    """Clients that are served now, all with the round number `sequence`."""

    sequence: int
    clients: list[ClientT]


class ClientCoordinator(Generic[ClientT]):
    """Gives every client one turn a round, at its own phase, and says whose turn it is.

    Each slot of the round holds its clients, so a tick touches those that are due and no others.

    Args:
        intervals: pace while the layout moves, and once it is stable.
        now_us: any clock that does not go back, in µs.
    """

    def __init__(self, intervals: Intervals, now_us: int) -> None:
        self._intervals = intervals
        self._clock = RoundClock(intervals.active_us, now_us)
        self._slots: list[dict[ClientT, None]] = [{} for _ in range(SLOTS)]
        self._slot_of: dict[ClientT, int] = {}
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

    def set_settled(self, settled: bool) -> None:
        """Go to the stable interval, or at once back to the active one."""
        self._clock.interval_us = self._intervals.stable_us if settled else self._intervals.active_us

    def add(self, client: ClientT) -> None:
        """Give a client a phase; its first turn comes within one interval.

        Phases follow the golden ratio, so those who join one after the other are spread evenly however many
        they are (Knuth, The Art of Computer Programming, vol. 3, 6.4: Fibonacci hashing).
        """
        slot = self._next_slot
        self._next_slot = (slot + _GOLDEN_STEP) % SLOTS
        self._slots[slot][client] = None
        self._slot_of[client] = slot

    def remove(self, client: ClientT) -> None:
        """Forget a client; one that is not there is none of our business."""
        slot = self._slot_of.pop(client, None)
        if slot is not None:
            del self._slots[slot][client]

    def due(self, now_us: int) -> list[Due[ClientT]]:
        """Whose turn has come since the last call, by round (two at most).

        The order within a call rotates from call to call: nobody is always the last to be written to.
        """
        groups = []
        for turn in self._clock.advance(now_us):
            clients = [client for slot in self._slots[turn.first : turn.end] for client in slot]
            if not clients:
                continue
            self._rotation += _GOLDEN_STEP
            start = self._rotation % len(clients)
            groups.append(Due(turn.sequence, clients[start:] + clients[:start]))
        return groups


_GOLDEN_STEP = 593
"""960 times the golden ratio, to the nearest number that shares no factor with 960: visits every slot."""
