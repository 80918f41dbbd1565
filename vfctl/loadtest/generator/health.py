"""Whether the generator itself was the bottleneck; if so, the results describe it more than the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vfctl.metrics import LatencyHistogram

MAX_CPU_PERCENT: Final = 90.0
"""Of one core, for each process. A busier generator has no reserve left."""

_FLUSH_AT: Final = 8192


@dataclass(slots=True)
class Health:
    """The load of one generator process in the measured stages.

    Attributes:
        shard: number of the process.
        wall_s, cpu_s: measured time, and CPU time of the process in it.
        lag: delay of each batch of reading against its plan, in µs.
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
    """Measures the process that it runs in. Call `measure` for each measured window, and `tick` for each batch.

    Args:
        shard: number of the process.
        now_ns: the clock, unix time.
    """

    def __init__(self, shard: int, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._health = Health(shard)
        self._now_ns = now_ns
        self._window_ns = (0, 0)
        self._last: tuple[float, float] | None = None
        self._lags_us: list[int] = []

    def measure(self, start_ns: int, end_ns: int) -> None:
        """Measure in [start_ns, end_ns), unix time. This ends the window before."""
        self._window_ns = (start_ns, end_ns)
        self._last = None

    def tick(self, lag_s: float) -> None:
        """Record a batch that began `lag_s` later than planned."""
        if not self._window_ns[0] <= self._now_ns() < self._window_ns[1]:
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
        """The load so far."""
        self._flush()
        return self._health

    def _flush(self) -> None:
        self._health.lag.record(np.array(self._lags_us, np.int64))
        self._lags_us.clear()


@dataclass(frozen=True, slots=True)
class GeneratorVerdict:
    """Whether the results can be trusted.

    Attributes:
        text: `valid` or `generator saturated`.
        advice: what to change; empty if valid.
    """

    text: str
    advice: str = ""


def judge_generator(healths: Sequence[Health], full_buffers: int) -> GeneratorVerdict:
    """Judge whether the generator was fast enough.

    Args:
        full_buffers: how often a receive buffer was found full.
    """
    busy = [health for health in healths if health.cpu_percent > MAX_CPU_PERCENT]
    if busy:
        worst = max(health.cpu_percent for health in busy)
        return GeneratorVerdict(
            "generator saturated",
            f"{len(busy)} of {len(healths)} generator processes used more than {MAX_CPU_PERCENT:g} % of a core (up to "
            f"{worst:.0f} %): use fewer clients or a lower rate, or give the generator more cores",
        )
    if full_buffers:
        return GeneratorVerdict(
            "generator saturated",
            f"receive buffers were found full {full_buffers} times: the generator did not read as fast as the server "
            "sent; use fewer clients, a lower rate or smaller frames",
        )
    return GeneratorVerdict("valid")
