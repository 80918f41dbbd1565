"""Heartbeats: when each client sends one, and how the replies measure the server's clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

HEARTBEAT_S: Final = 30.0
"""Time between two heartbeats of a client."""

CLOCK_PROBES: Final = 8
"""So many of the first clients also send one extra heartbeat a second in turn, to measure the server's clock."""

MAX_SAMPLE_AGE_S: Final = 60.0
"""Older samples are ignored, because quartz drifts by up to 50 µs a second (RFC 5905 assumes 15)."""

MAX_SAMPLES: Final = 64
"""The newest samples are kept; one a second arrives."""


def heartbeats_due(last_s: float, now_s: float, clients: int, period_s: float) -> Iterator[int]:
    """The clients whose heartbeat falls into (last, now]. They are spread evenly over the period."""
    if not clients:
        return
    first = math.floor(last_s * clients / period_s) + 1
    end = math.floor(now_s * clients / period_s) + 1
    for slot in range(max(first, end - clients), end):
        yield slot % clients


@dataclass(frozen=True, slots=True, order=True)
class ClockSample:
    """One heartbeat and its reply.

    Attributes:
        error_us: half the round-trip time; the true offset is within this distance of `offset_us`.
        offset_us: how far the server's clock is ahead of ours, if both directions took equally long.
    """

    error_us: float
    offset_us: float


def clock_sample(sent_us: int, responder_us: int, arrived_us: int) -> ClockSample:
    """The sample of one round trip, as in NTP (RFC 5905, section 8). The responder answers at once."""
    return ClockSample((arrived_us - sent_us) / 2, responder_us - (sent_us + arrived_us) / 2)


class ClockFilter:
    """Keeps the samples of the last minute. The one with the shortest round trip is best (RFC 5905, section 10)."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, ClockSample]] = deque(maxlen=MAX_SAMPLES)

    def add(self, sample: ClockSample, now_s: float) -> None:
        """Add a sample, taken at `now_s`."""
        self._samples.append((now_s, sample))

    def best(self, now_s: float) -> ClockSample | None:
        """The best sample of the last minute; None if there is none."""
        return min((sample for at_s, sample in self._samples if now_s - at_s <= MAX_SAMPLE_AGE_S), default=None)


def correction_us(best: ClockSample | None, local: bool) -> int:
    """The offset to add to our times to get the server's times.

    A server on this machine shares our clock, so its offset is 0 as long as the sample allows that. If the sample
    excludes it, the address was the near end of a tunnel, and the sample is used.
    """
    if best is None or (local and abs(best.offset_us) <= best.error_us):
        return 0
    return round(best.offset_us)
