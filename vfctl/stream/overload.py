"""When a gateway cannot keep up: how long its rounds have to be, so that a tick's work fits into a tick.

Latency is kept and the rate gives way. The controller learns from every tick what share of the time its work takes, and
from that the shortest interval that would leave some room. It learns at any interval, so when a layout at rest
comes to life, and twenty times the work would fall on the gateway at once, it already knows how much of it fits.
"""

from __future__ import annotations

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

FALL: Final = 0.1
"""How much a window that allows shorter rounds counts: it takes a second or two to believe that the load is gone."""

DEAD_BAND: Final = 0.05
"""Changes smaller than this are not passed on: what a trailer promises should hold."""

LONGEST_US: Final = 10_000_000
"""No interval is made longer than this."""


class OverloadController:
    """Bounds the interval of one gateway from below.

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

    def tick(self, busy_us: int, covered_us: int, interval_us: int, now_us: int) -> None:
        """A tick's work is done.

        Args:
            busy_us: how long it took, to the end of the last write.
            covered_us: the time whose turns it served. Work is held against this, not against the time that has passed:
                a gateway that is behind is busy all the time, but needs no longer interval if it is catching up;
                and one that cannot keep up shows by how much.
            interval_us: the interval at which clients were served.
        """
        self._busy_us += busy_us
        self._covered_us += covered_us
        if now_us - self._since_us < WINDOW_US or not self._covered_us:
            return
        share = self._busy_us / self._covered_us
        self._busy_us = self._covered_us = 0
        self._since_us = now_us
        self._learn(share, interval_us)

    def interval_us(self, wanted_us: int) -> int:
        """The interval to serve at, if `wanted_us` would be right with all the time in the world."""
        return max(wanted_us, self.least_us)

    def _learn(self, share: float, interval_us: int) -> None:
        """The work that goes by clients is inverse to the interval, so this much of it asks for that interval."""
        required_us = interval_us * max(0.0, share - FIXED) / (TARGET - FIXED)
        if share >= 1.0:
            weight = 1.0
        else:
            weight = RISE if required_us > self._required_us else FALL
        self._required_us += weight * (required_us - self._required_us)
        if abs(self._required_us - self.least_us) > DEAD_BAND * self.least_us:
            self.least_us = min(round(self._required_us), LONGEST_US)
