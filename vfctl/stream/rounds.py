"""When a round begins and how far it is: connections take their turns spread over the interval."""

from __future__ import annotations

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
