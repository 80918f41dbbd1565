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
        self.interval_us = interval_us
        self.advanced_us = 0
        """How much time's turns the last `advance` gave."""

    @property
    def sequence(self) -> int:
        """The number of the present round, from 1."""
        return self._sequence

    def advance(self, now_us: int) -> list[Turn]:
        """The turns that have come since the last call, in order.

        After a pause longer than an interval every slot has just one turn, not several: what was missed is lost
        time, not a burst.
        """
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
