"""When a gateway cannot keep up: how long its rounds have to be, so that a tick's work fits into a tick.

Latency is kept and the rate gives way. The controller learns from every tick what share of the time its work takes, and
from that the shortest interval that would leave some room. It learns at any interval, so when a layout at rest
comes to life, and twenty times the work would fall on the gateway at once, it already knows how much of it fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

TARGET: Final = 0.75
"""Of the time, for the work. What is left is for what comes unevenly: handshakes, heartbeats, other processes."""

FIXED: Final = 0.05
"""Of the time, taken to go by the ticks themselves and not by the clients that are served: a longer interval would not
make it less. Without it a gateway of few clients, at rest, would take its idling for load."""

WINDOW_US: Final = 100_000
"""What is seen is summed up over this time: six ticks, of which none has to be typical."""

RISE: Final = 0.5
"""How much a window that asks for longer rounds counts; one that does not fit at all counts fully."""

SLOW_RISE: Final = 0.2
"""The same, if it is not the ticks' own work that asks for them."""

FALL: Final = 0.1
"""How much a window that allows shorter rounds counts: it takes a second or two to believe that the load is gone."""

DEAD_BAND: Final = 0.05
"""Changes smaller than this are not passed on: what a trailer promises should hold."""

LONGEST_US: Final = 10_000_000
"""No interval is made longer than this."""


class OverloadController:
    """Bounds the interval of one gateway from below.

    It has two ways to see what share of the time is taken. The work of the ticks, held against the time whose turns it
    served, is exact and quick: a gateway that is behind needs no longer interval if it is catching up, and one that
    cannot keep up shows by how much. But handshakes, what clients say, and processes that compete for the same cores
    are not in it. The time that the process was not asleep has all of that, yet says only "too much", and
    also says it of a gateway that is catching up; so it counts more slowly.

    Args:
        now_us: any clock that does not go back, in µs.

    Attributes:
        least_us: the shortest interval that is allowed now; 0 if there is no need for one.
    """

    def __init__(self, now_us: int) -> None:
        self.least_us = 0
        self._required_us = 0.0
        self._busy_us = 0
        self._covered_us = 0
        self._since_us = now_us
        self._awake_since_us: int | None = None

    def tick(
        self, busy_us: int, covered_us: int, interval_us: int, now_us: int, awake_us: Callable[[], int | None]
    ) -> None:
        """A tick's work is done.

        Args:
            busy_us: how long it took, to the end of the last write.
            covered_us: the time whose turns it served.
            interval_us: the interval at which clients were served.
            awake_us: tells how long the process has run or waited for a core, in all; None where nobody knows. It is
                asked ten times a second.
        """
        self._busy_us += busy_us
        self._covered_us += covered_us
        elapsed_us = now_us - self._since_us
        if elapsed_us < WINDOW_US or not self._covered_us:
            return
        work = self._busy_us / self._covered_us
        awake_now_us = awake_us()
        awake = 0.0
        if awake_now_us is not None and self._awake_since_us is not None:
            awake = min((awake_now_us - self._awake_since_us) / elapsed_us, 1.0)
        self._awake_since_us = awake_now_us
        self._busy_us = self._covered_us = 0
        self._since_us = now_us
        self._learn(work, awake, interval_us)

    def interval_us(self, wanted_us: int) -> int:
        """The interval to serve at, if `wanted_us` would be right with all the time in the world."""
        return max(wanted_us, self.least_us)

    def _learn(self, work: float, awake: float, interval_us: int) -> None:
        """The work that goes by clients is inverse to the interval, so this much of it asks for that interval."""
        required_us = interval_us * max(0.0, max(work, awake) - FIXED) / (TARGET - FIXED)
        if required_us <= self._required_us:
            weight = FALL
        elif work >= 1.0:
            weight = 1.0
        else:
            weight = RISE if work >= awake else SLOW_RISE
        self._required_us += weight * (required_us - self._required_us)
        if abs(self._required_us - self.least_us) > DEAD_BAND * self.least_us:
            self.least_us = min(round(self._required_us), LONGEST_US)
