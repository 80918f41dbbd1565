"""How far the server's clock is from ours, from heartbeats and their replies."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 60.0
"""How long a sample is believed: quartz drifts apart by some 50 µs a second at worst (RFC 5905 assumes 15)."""

MAX_SAMPLES: Final = 64
"""Kept of the newest; one a second comes in."""


@dataclass(frozen=True, slots=True, order=True)
class ClockSample:
    """One heartbeat and its reply.

    Attributes:
        error_us: half the round trip; the true offset is not further than that from `offset_us`.
        offset_us: what the server's clock is ahead of ours, if both ways took equally long.
    """

    error_us: float
    offset_us: float


def sample(sent_us: int, responder_us: int, arrived_us: int) -> ClockSample:
    """What one round trip tells, NTP style (RFC 5905, section 8; the responder answers at once)."""
    return ClockSample((arrived_us - sent_us) / 2, responder_us - (sent_us + arrived_us) / 2)


class ClockFilter:
    """Keeps the samples of the last minute; the one with the shortest round trip is the best (RFC 5905, section 10)."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, ClockSample]] = deque(maxlen=MAX_SAMPLES)

    def add(self, new: ClockSample, now_s: float) -> None:
        """Another round trip."""
        self._samples.append((now_s, new))

    def best(self, now_s: float) -> ClockSample | None:
        """The best sample of the last minute; None if there is none."""
        return min((sample for at_s, sample in self._samples if now_s - at_s <= WINDOW_S), default=None)


def correction_us(best: ClockSample | None, local: bool) -> int:
    """What to add to our times to have the server's.

    A server on this machine has our clock, so a sample that allows for no offset is taken as none at all. One
    that does not (the address was the near end of a tunnel) is believed.
    """
    if best is None or (local and abs(best.offset_us) <= best.error_us):
        return 0
    return round(best.offset_us)
