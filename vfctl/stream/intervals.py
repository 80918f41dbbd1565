"""When a round begins and how far it is: connections take their turns spread over the interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SLOTS: Final = 960
"""Turns a round is cut into. 16 for each of 60 ticks a second at the stable interval, so that a tick which comes
a little early or late serves a sixteenth more or less, not twice as many."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Slots whose turn has come: [first, end) of the round `sequence`."""

    sequence: int
    first: int
    end: int


class RoundClock:
    """Moves through rounds at the pace of an interval that may change at any time.

    The clock is a phase that grows by elapsed ÷ interval. A change of the interval changes the pace from there on,
    so the connections that the current round has not served yet are served within the new interval, each of them
    once, and no sequence number is left out.

    Args:
        interval_us: length of a round.
        now_us: any clock that does not go back.
    """

    def __init__(self, interval_us: int, now_us: int) -> None:
        self._sequence = 1
        self._position = 0.0
        self._now_us = now_us
        self._share = SLOTS
        self._wait_until_us: int | None = None
        self.interval_us = interval_us
        self.advanced_us = 0
        """How much time's turns the last `advance` gave."""

    @property
    def sequence(self) -> int:
        """The number of the present round, from 1."""
        return self._sequence

    def begin_round(self, now_us: int, parts: int, wait_us: int) -> list[Turn]:
        """Begin a round now, of something that everybody is to get once.

        The next `parts` calls of `advance` give its turns, whatever the time, so that each slot is always as far behind
        the round's beginning; then the clock waits for the next call of this. If that does not come within `wait_us`,
        it goes on by itself, at the pace of the interval.

        Returns:
            the turns that the round before still had to give.
        """
        self._now_us = max(self._now_us, now_us)
        first, sequence = int(self._position), self._sequence
        self._position = 0.0
        self._sequence += 1
        self._share = -(-SLOTS // parts)
        self._wait_until_us = self._now_us + wait_us
        return [Turn(sequence, first, SLOTS)] if first < SLOTS else []

    def go_on(self) -> None:
        """Do not wait any longer: from now on at the pace of the interval."""
        self._wait_until_us = None
        if self._position >= SLOTS:
            self._position = 0.0
            self._sequence += 1

    @property
    def waits(self) -> bool:
        """Whether the pace is that of `begin_round`."""
        return self._wait_until_us is not None

    def _advance_within_round(self, now_us: int) -> list[Turn]:
        first = int(self._position)
        self._now_us = max(self._now_us, now_us)
        end = min(first + self._share, SLOTS)
        self._position = end
        self.advanced_us = (end - first) * self.interval_us // SLOTS
        return [Turn(self._sequence, first, end)] if end > first else []

    def advance(self, now_us: int) -> list[Turn]:
        """The turns that have come since the last call, in order.

        After a pause longer than an interval every slot has just one turn, not several: what was missed is lost
        time, not a burst.
        """
        if self._wait_until_us is not None:
            if now_us < self._wait_until_us or self._position < SLOTS:
                return self._advance_within_round(now_us)
            self.go_on()
            self._now_us = max(self._now_us, now_us - self.interval_us)
        elapsed_us = max(0, now_us - self._now_us)
        self.advanced_us = min(elapsed_us, self.interval_us)
        self._now_us = max(self._now_us, now_us)
        first = int(self._position)
        self._position += min(elapsed_us / self.interval_us, 1.0) * SLOTS
        end = int(self._position)
        if end < SLOTS:
            return [Turn(self._sequence, first, end)] if end > first else []
        self._position -= SLOTS
        self._sequence += 1
        turns = [Turn(self._sequence - 1, first, SLOTS), Turn(self._sequence, 0, end - SLOTS)]
        return [turn for turn in turns if turn.end > turn.first]


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
