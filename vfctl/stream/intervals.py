"""The length of an interval and the progress through it.

In each interval a gateway sends one frame to every connection, spread evenly over the interval. IntervalClock says
which part of the interval is due. OverloadController makes intervals longer when a gateway cannot keep up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SLOTS: Final = 960
"""Parts of an interval. At the stable interval of 1 s and 60 ticks a second, 16 slots are due in each tick, so a tick
that comes a little early or late serves a sixteenth more or less, not twice as many."""


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Slots that are due: [first, end) of the interval number `sequence`."""

    sequence: int
    first: int
    end: int


class IntervalClock:
    """Says which slots are due. The length of the interval may change at any time.

    The clock is a position that grows by elapsed time ÷ interval. A change of the interval changes the pace from there
    on. So the connections that were not served yet in the current interval are served within the new length, each of
    them once, and no sequence number is left out.

    Args:
        interval_us: length of an interval in µs.
        now_us: any clock that does not go back, in µs.

    Attributes:
        interval_us: may be set at any time.
        covered_us: how much time the slots of the last `advance` stand for, in µs.
    """

    def __init__(self, interval_us: int, now_us: int) -> None:
        self._sequence = 1
        self._position = 0.0
        self._now_us = now_us
        self._slots_per_call = SLOTS
        self._wait_until_us: int | None = None
        self.interval_us = interval_us
        self.covered_us = 0

    @property
    def sequence(self) -> int:
        """The number of the current interval, from 1."""
        return self._sequence

    @property
    def is_waiting(self) -> bool:
        """Whether the pace is that of `begin_interval`."""
        return self._wait_until_us is not None

    def begin_interval(self, now_us: int, parts: int, wait_us: int) -> list[SlotRange]:
        """Begin an interval now, because a state came that every connection is to get exactly once.

        The next `parts` calls of `advance` return its slots, whatever the time, so that each slot is served equally
        long after the state came. Then the clock waits for the next call of this method. If none comes within
        `wait_us`, the clock continues at its own pace.

        Returns:
            The slots of the interval before that were not due yet.
        """
        self._now_us = max(self._now_us, now_us)
        first, sequence = int(self._position), self._sequence
        self._position = 0.0
        self._sequence += 1
        self._slots_per_call = -(-SLOTS // parts)
        self._wait_until_us = self._now_us + wait_us
        return [SlotRange(sequence, first, SLOTS)] if first < SLOTS else []

    def resume(self) -> None:
        """Stop waiting for `begin_interval`: continue at the pace of the interval."""
        self._wait_until_us = None
        if self._position >= SLOTS:
            self._position = 0.0
            self._sequence += 1

    def advance(self, now_us: int) -> list[SlotRange]:
        """Return the slots that became due since the last call, in order.

        After a pause longer than an interval every slot is due once, not several times: what was missed is not sent
        in a burst.
        """
        if self._wait_until_us is not None:
            if now_us < self._wait_until_us or self._position < SLOTS:
                return self._advance_by_calls(now_us)
            self.resume()
            self._now_us = max(self._now_us, now_us - self.interval_us)
        elapsed_us = max(0, now_us - self._now_us)
        self.covered_us = min(elapsed_us, self.interval_us)
        self._now_us = max(self._now_us, now_us)
        first = int(self._position)
        self._position += min(elapsed_us / self.interval_us, 1.0) * SLOTS
        end = int(self._position)
        if end < SLOTS:
            return [SlotRange(self._sequence, first, end)] if end > first else []
        self._position -= SLOTS
        self._sequence += 1
        due = [SlotRange(self._sequence - 1, first, SLOTS), SlotRange(self._sequence, 0, end - SLOTS)]
        return [slots for slots in due if slots.end > slots.first]

    def _advance_by_calls(self, now_us: int) -> list[SlotRange]:
        """The next part of an interval that `begin_interval` began."""
        first = int(self._position)
        self._now_us = max(self._now_us, now_us)
        end = min(first + self._slots_per_call, SLOTS)
        self._position = end
        self.covered_us = (end - first) * self.interval_us // SLOTS
        return [SlotRange(self._sequence, first, end)] if end > first else []


TARGET: Final = 0.75
"""Share of the time for the work. The rest is for uneven load: handshakes, heartbeats, other processes."""

FIXED: Final = 0.05
"""Share of the time that ticks take however many clients they serve. A longer interval would not make it less. Without
it, a gateway of few clients would take its idling for load."""

WINDOW_US: Final = 100_000
"""Work is summed over this time, in µs: six ticks, of which none has to be typical."""

RISE: Final = 0.5
"""Weight of a window that needs a longer interval. One in which the work does not fit at all has weight 1."""

SLOW_RISE: Final = 0.2
"""The same, if the need shows only in the time that the process was awake."""

FALL: Final = 0.1
"""Weight of a window that allows a shorter interval: the interval falls over a second or two."""

DEAD_BAND: Final = 0.05
"""Relative changes smaller than this are not applied, because trailers promise the interval to clients."""

LONGEST_US: Final = 10_000_000
"""No interval is made longer than this, in µs."""


class OverloadController:
    """Finds the shortest interval at which a gateway can keep up. Latency is kept and the rate falls.

    It learns from every tick what share of the time the work takes. The work per client is inverse to the interval, so
    this share says which interval would leave room. It learns at any interval: when a layout at rest starts to
    move, and twenty times the work would come at once, it already knows how much fits.

    It measures that share in two ways. The work of the ticks, relative to the time that their slots stand for, is
    exact and quick: a gateway that is behind needs no longer interval while it catches up. But handshakes, clients'
    messages and other processes on the same cores are not in it. The time that the process was awake contains all of
    that, but also a gateway that is catching up, so it counts less.

    Args:
        now_us: any clock that does not go back, in µs.

    Attributes:
        shortest_us: the shortest interval that is allowed now, in µs; 0 without overload.
    """

    def __init__(self, now_us: int) -> None:
        self.shortest_us = 0
        self._required_us = 0.0
        self._busy_us = 0
        self._covered_us = 0
        self._since_us = now_us
        self._awake_since_us: int | None = None

    def tick(
        self, busy_us: int, covered_us: int, interval_us: int, now_us: int, awake_us: Callable[[], int | None]
    ) -> None:
        """Record the work of a tick.

        Args:
            busy_us: how long it took, to the end of the last write, in µs.
            covered_us: the time that its slots stand for, in µs.
            interval_us: the interval at which clients were served.
            now_us: the time.
            awake_us: returns how long the process has run, or waited for a core, since it started; None where that is
                unknown. Called ten times a second.
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

    def interval_us(self, target_us: int) -> int:
        """The interval to serve at, in µs, if `target_us` is wanted."""
        return max(target_us, self.shortest_us)

    def _learn(self, work: float, awake: float, interval_us: int) -> None:
        required_us = interval_us * max(0.0, max(work, awake) - FIXED) / (TARGET - FIXED)
        if required_us <= self._required_us:
            weight = FALL
        elif work >= 1.0:
            weight = 1.0
        else:
            weight = RISE if work >= awake else SLOW_RISE
        self._required_us += weight * (required_us - self._required_us)
        if abs(self._required_us - self.shortest_us) > DEAD_BAND * self.shortest_us:
            self.shortest_us = min(round(self._required_us), LONGEST_US)
