"""A run second by second, folded from the shards' reports of progress."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.generator.shard_process import Progress
from vfctl.loadtest.results.performance import Second
from vfctl.metrics import LatencyHistogram

_SHORTEST_S: Final = 0.5
"""A last second of which less was seen is left out: its rates would be a guess."""


@dataclass(slots=True)
class _Open:
    """A second that reports still come in for."""

    messages: float = 0.0
    bytes: float = 0.0
    cpu_s: float = 0.0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)


class TimeSeries:
    """Takes reports of progress; their time stamps say which second they belong to.

    A report covers the half second since the one before. Its counts are shared out over the seconds that it covers;
    its latencies go to the one in which most of it lies.

    Args:
        began_s: when the run began, monotonic.
        shards: how many of them report.
    """

    def __init__(self, began_s: float, shards: int) -> None:
        self._began_s = began_s
        self._shards = shards
        self._newest: dict[int, Progress] = {}
        self._open: dict[int, _Open] = {}
        self._seconds: list[Second] = []
        self._stages: list[tuple[str, float | None]] = []

    def begin_stage(self, name: str, began_s: float, measured_from_s: float | None) -> None:
        """The next stage begins.

        Args:
            began_s: when, monotonic.
            measured_from_s: when its measured time does; None if it is not measured. One without a pause before it goes
                on with the measured time of the stage before.
        """
        if measured_from_s == began_s:
            before_s = self._stages[-1][1] if self._stages else -math.inf
            measured_from_s = measured_from_s if before_s is None else before_s
        self._stages.append((name, measured_from_s))

    def take(self, progress: Progress) -> None:
        """A shard's report."""
        before = self._newest.get(progress.shard)
        if before is not None and progress.at_s > before.at_s:
            self._share_out(before, progress)
        self._newest[progress.shard] = progress
        if len(self._newest) == self._shards:
            seen_s = min(newest.at_s for newest in self._newest.values()) - self._began_s
            while len(self._seconds) + 1 <= seen_s:
                self._close(1.0)

    def finish(self) -> tuple[Second, ...]:
        """All seconds, oldest first; call it once, at the end."""
        if len(self._newest) == self._shards:
            seen_s = max(newest.at_s for newest in self._newest.values()) - self._began_s
            while (rest_s := min(1.0, seen_s - len(self._seconds))) >= _SHORTEST_S:
                self._close(rest_s)
        return tuple(self._seconds)

    def _share_out(self, before: Progress, now: Progress) -> None:
        from_s, to_s = max(0.0, before.at_s - self._began_s), max(0.0, now.at_s - self._began_s)
        for number in range(math.floor(from_s), math.ceil(to_s)):
            share = (min(to_s, number + 1) - max(from_s, number)) / (to_s - from_s)
            second = self._at(number)
            second.messages += share * (now.messages - before.messages)
            second.bytes += share * (now.bytes - before.bytes)
            second.cpu_s += share * (now.cpu_s - before.cpu_s)
        self._at(math.floor((from_s + to_s) / 2)).latency.merge(now.recent)

    def _at(self, number: int) -> _Open:
        """A second by its number; what is late for one goes to the oldest that is still open."""
        return self._open.setdefault(max(number, len(self._seconds)), _Open())

    def _close(self, lasted_s: float) -> None:
        number = len(self._seconds)
        seen = self._open.pop(number, None) or _Open()
        outcome = sum((progress.outcome for progress in self._newest.values()), Outcome())
        stage = max(0, *(progress.stage for progress in self._newest.values()))
        name, measured_from_s = self._stages[stage] if stage < len(self._stages) else ("", None)
        latency = seen.latency.summary()
        self._seconds.append(
            Second(
                number,
                name,
                measured_from_s is not None and self._began_s + number >= measured_from_s,
                outcome.connected,
                round(seen.messages / lasted_s, 1),
                round(seen.bytes / lasted_s, 1),
                latency.p50,
                latency.p95,
                latency.p99,
                round(100 * seen.cpu_s / lasted_s, 1),
            )
        )
