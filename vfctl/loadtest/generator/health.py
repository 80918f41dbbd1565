"""Whether the generator itself was the bottleneck: then the numbers say more of it than of the server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vfctl.metrics import LatencyHistogram

MAX_CPU_PERCENT: Final = 90.0
"""Of one core and process: above it a generator has no time left to be late in."""


_FLUSH_AT: Final = 8192


@dataclass(slots=True)
class Health:
    """How one generator process fared within the measured stages.

    Attributes:
        shard: which process.
        wall_s, cpu_s: time, and CPU time of the process.
        lag: how much later than planned a batch of reading began.
    """

    shard: int
    wall_s: float = 0.0
    cpu_s: float = 0.0
    lag: LatencyHistogram = field(default_factory=LatencyHistogram)

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return 100 * self.cpu_s / self.wall_s if self.wall_s > 0 else 0.0


class HealthMonitor:
    """Watches the process that it runs in. Tell it the measured windows, then `tick` once a batch."""

    def __init__(self, shard: int) -> None:
        self._health = Health(shard)
        self._window_ns = (0, 0)
        self._last: tuple[float, float] | None = None
        self._lags_us: list[int] = []

    def measure(self, start_ns: int, end_ns: int) -> None:
        """A measured window, unix time in ns; the one before it is over."""
        self._window_ns = (start_ns, end_ns)
        self._last = None

    def tick(self, lag_s: float) -> None:
        """A batch has begun `lag_s` later than planned."""
        if not self._window_ns[0] <= time.time_ns() < self._window_ns[1]:
            return
        now = (time.monotonic(), time.process_time())
        if self._last is not None:
            self._health.wall_s += now[0] - self._last[0]
            self._health.cpu_s += now[1] - self._last[1]
        self._last = now
        self._lags_us.append(max(0, round(lag_s * 1e6)))
        if len(self._lags_us) >= _FLUSH_AT:
            self._flush()

    def report(self) -> Health:
        """What was seen."""
        self._flush()
        return self._health

    def _flush(self) -> None:
        self._health.lag.record(np.array(self._lags_us, np.int64))
        self._lags_us.clear()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the results can be trusted.

    Attributes:
        text: `valid` or `generator saturated`.
        advice: what to change; empty if valid.
    """

    text: str
    advice: str = ""

    @property
    def valid(self) -> bool:
        """True if the generator was not the bottleneck."""
        return not self.advice


def judge_generator(healths: Sequence[Health], full_buffers: int) -> Verdict:
    """The verdict on a run.

    Args:
        full_buffers: how often a receive buffer was found full.
    """
    busy = [health for health in healths if health.cpu_percent > MAX_CPU_PERCENT]
    if busy:
        worst = max(health.cpu_percent for health in busy)
        return Verdict(
            "generator saturated",
            f"{len(busy)} of {len(healths)} generator processes used more than {MAX_CPU_PERCENT:g} % of a core (up to "
            f"{worst:.0f} %): use fewer clients or a lower rate, or give the generator more cores",
        )
    if full_buffers:
        return Verdict(
            "generator saturated",
            f"receive buffers were found full {full_buffers} times: the generator did not read as fast as the server "
            "sent; use fewer clients, a lower rate or smaller frames",
        )
    return Verdict("valid")
