"""The metrics of `vfctl watch`. The caller passes times: monotonic seconds, and unix µs for messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from vfctl.metrics import LatencyHistogram
from vfctl.protocol import CompactUpdate, FullGraph, Message, PositionUpdate

MINUTE_S: Final = 60
LATENCY_WINDOW_S: Final = 10.0
RATE_S: Final = 5.0
"""Window of the rates. A settled layout sends one update per second, so that a shorter one would flicker."""


class _Arrival(NamedTuple):
    at_s: float
    size: int
    is_update: bool
    latency_us: float | None


class Latency(NamedTuple):
    """Time from the server's time stamp to arrival, in ms."""

    p50_ms: float
    p95_ms: float


class WatchMetrics:
    """Counts since the start, rates and percentiles of the last seconds, and the last minute second by second.

    Attributes:
        nodes, edges: number that the server sends.
        settled: whether the layout is stable; None before the first update.
        interval_ms: interval that the server announces; None if it announces none.
        gaps: missing updates.
        updates: updates that have arrived.
    """

    def __init__(self, now_s: float) -> None:
        self.nodes = 0
        self.edges = 0
        self.settled: bool | None = None
        self.interval_ms: float | None = None
        self.gaps = 0
        self.updates = 0
        self._began_s = now_s
        self._arrivals: deque[_Arrival] = deque()
        self._all = LatencyHistogram()
        self._next_sequences: range | None = None

    def record(self, message: Message, size: int, *, now_s: float, arrival_us: int, offset_us: int = 0) -> None:
        """Record a message.

        Args:
            size: bytes.
            arrival_us: unix time.
            offset_us: how far the server's clock is ahead of ours.
        """
        latency_us: float | None = None
        is_update = isinstance(message, PositionUpdate | CompactUpdate)
        if isinstance(message, FullGraph):
            self.nodes, self.edges = len(message.nodes), len(message.edges)
            sequence = message.trailer.sequence if message.trailer else None
            # The next update has the same sequence number if our slot of this interval is still to come, else one more.
            self._next_sequences = None if sequence is None else range(sequence, sequence + 2)
        elif isinstance(message, PositionUpdate | CompactUpdate):
            self.updates += 1
            self.settled = message.settled
            if message.trailer is not None:
                self._count_gaps(message.trailer.sequence)
                self.interval_ms = message.trailer.interval_us / 1000 or None
                latency_us = max(0, arrival_us + offset_us - message.trailer.timestamp_us)
                self._all.record(np.array([latency_us], np.int64))
        self._arrivals.append(_Arrival(now_s, size, is_update, latency_us))
        while self._arrivals[0].at_s < now_s - MINUTE_S - 1:
            self._arrivals.popleft()

    def updates_per_s(self, now_s: float) -> float | None:
        """Updates per second; None during the first second."""
        return self._rate(now_s, [float(each.is_update) for each in self._since(now_s - RATE_S)])

    def bytes_per_s(self, now_s: float) -> float | None:
        """Bytes per second of all messages, without WebSocket framing."""
        return self._rate(now_s, [float(each.size) for each in self._since(now_s - RATE_S)])

    def latency(self, now_s: float) -> Latency | None:
        """Latency of the last ten seconds; None without a sample."""
        samples = [each.latency_us for each in self._since(now_s - LATENCY_WINDOW_S) if each.latency_us is not None]
        return _percentiles(samples)

    def total_latency(self) -> Latency | None:
        """Latency since the start; None without a sample."""
        summary = self._all.summary()
        return None if summary.p50 is None or summary.p95 is None else Latency(summary.p50, summary.p95)

    def latency_by_second(self, now_s: float) -> list[float | None]:
        """P95 in ms of each second of the last minute, the current one last; None without a sample."""
        seconds: list[list[float]] = [[] for _ in range(MINUTE_S)]
        for each in self._arrivals:
            age = int(now_s) - int(each.at_s)
            if each.latency_us is not None and 0 <= age < MINUTE_S:
                seconds[-1 - age].append(each.latency_us)
        found = [_percentiles(samples) for samples in seconds]
        return [each.p95_ms if each else None for each in found]

    def bytes_by_second(self, now_s: float) -> list[float | None]:
        """Bytes in each complete second of the last minute, the newest last; None before the start."""
        seconds: list[float | None] = [
            0.0 if int(now_s) - age >= int(self._began_s) else None for age in range(MINUTE_S, 0, -1)
        ]
        for each in self._arrivals:
            age = int(now_s) - int(each.at_s)
            if 1 <= age <= MINUTE_S:
                seconds[-age] = (seconds[-age] or 0.0) + each.size
        return seconds

    def _since(self, since_s: float) -> list[_Arrival]:
        return [each for each in self._arrivals if each.at_s > since_s]

    def _rate(self, now_s: float, amounts: Sequence[float]) -> float | None:
        elapsed_s = min(RATE_S, now_s - self._began_s)
        return sum(amounts) / elapsed_s if elapsed_s >= 1 else None

    def _count_gaps(self, sequence: int) -> None:
        if self._next_sequences is not None and sequence >= self._next_sequences.start:
            self.gaps += max(0, sequence - self._next_sequences[-1])
        self._next_sequences = range(sequence + 1, sequence + 2)


def _percentiles(samples_us: Sequence[float]) -> Latency | None:
    if not samples_us:
        return None
    p50, p95 = np.percentile(samples_us, (50, 95))
    return Latency(float(p50) / 1000, float(p95) / 1000)
