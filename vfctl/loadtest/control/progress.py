"""Folds the progress messages of generator processes: totals, the present stage, and the run second by second.

The live display, the abort gates, the metrics endpoint and the results' time series all read this fold.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.generator.shard_process import Progress
from vfctl.loadtest.results.model import SecondMetrics
from vfctl.metrics import LatencyHistogram
from vfctl.metrics.histogram import Summary

SHORTEST_SECOND_S: Final = 0.5
"""The last second of a run is left out if less of it was seen, because its rates would be a guess."""


class StageProgress:
    """What a stage has shown so far. The first message of a shard only sets its zero, because it also covers the time
    before the stage.

    Args:
        from_s: messages from before this time are ignored, monotonic; of a measured stage, when the measured time
            begins.

    Attributes:
        latency: of attentive clients.
    """

    def __init__(self, from_s: float) -> None:
        self.latency = LatencyHistogram()
        self._from_s = from_s
        self._first: dict[int, Progress] = {}
        self._last: dict[int, Progress] = {}

    def add(self, progress: Progress) -> None:
        """Add a message of a shard."""
        if progress.at_s < self._from_s:
            return
        if progress.shard in self._first:
            self.latency.merge(progress.recent)
        self._first.setdefault(progress.shard, progress)
        self._last[progress.shard] = progress

    @property
    def outcome(self) -> Outcome | None:
        """The state of the clients; None before the first message."""
        return sum((progress.outcome for progress in self._last.values()), Outcome()) if self._last else None

    @property
    def messages_per_s(self) -> float | None:
        """Mean rate; None until a shard has sent two messages."""
        return self._rate("messages")

    @property
    def bytes_per_s(self) -> float | None:
        """Mean rate, with framing; None until a shard has sent two messages."""
        return self._rate("bytes")

    def _rate(self, counter: str) -> float | None:
        """Sum of the shards' rates, each by the times at which the shard has counted."""
        rate = None
        for shard, last in self._last.items():
            first = self._first[shard]
            if last.at_s > first.at_s:
                rate = (rate or 0.0) + (getattr(last, counter) - getattr(first, counter)) / (last.at_s - first.at_s)
        return rate


@dataclass(slots=True)
class _OpenSecond:
    """A second that messages still arrive for."""

    messages: float = 0.0
    bytes: float = 0.0
    cpu_s: float = 0.0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)


class ProgressFold:
    """The fold over the messages of one server's shards, or of all shards. Times are passed in, monotonic.

    A message covers the half second since the one before. Its counts are spread over the seconds that it covers. Its
    latencies go to the second in which most of it lies. A second is complete once every shard has reported past it.

    Args:
        began_s: when the run began.
        shards: the numbers of the shards that report.

    Attributes:
        stage: the present stage.
        latency: of the newest complete second, in ms.
    """

    def __init__(self, began_s: float, shards: frozenset[int]) -> None:
        self._began_s = began_s
        self._shards = shards
        self._newest: dict[int, Progress] = {}
        self._open: dict[int, _OpenSecond] = {}
        self._seconds: list[SecondMetrics] = []
        self._stages: list[tuple[str, float | None]] = []
        self.stage = StageProgress(began_s)
        self.latency = Summary(0)

    def begin_stage(self, name: str, began_s: float, measured_from_s: float | None) -> None:
        """Begin the next stage.

        Args:
            began_s: when the stage began.
            measured_from_s: when its measured time begins; None if it is not measured. Without a pause before it, a
                stage continues the measured time of the stage before.
        """
        self.stage = StageProgress(began_s if measured_from_s is None else measured_from_s)
        if measured_from_s == began_s:
            before_s = self._stages[-1][1] if self._stages else -math.inf
            measured_from_s = measured_from_s if before_s is None else before_s
        self._stages.append((name, measured_from_s))

    def add(self, progress: Progress) -> None:
        """Add a message of a shard."""
        before = self._newest.get(progress.shard)
        if before is not None and progress.at_s > before.at_s:
            self._spread(before, progress)
        self._newest[progress.shard] = progress
        self.stage.add(progress)
        if not self.silent:
            seen_s = min(newest.at_s for newest in self._newest.values()) - self._began_s
            while len(self._seconds) + 1 <= seen_s:
                self._close_second(1.0)

    def finish(self) -> tuple[SecondMetrics, ...]:
        """End the run: all seconds, oldest first. The last one may be shorter."""
        if not self.silent:
            seen_s = max(newest.at_s for newest in self._newest.values()) - self._began_s
            while (rest_s := min(1.0, seen_s - len(self._seconds))) >= SHORTEST_SECOND_S:
                self._close_second(rest_s)
        return self.seconds

    @property
    def seconds(self) -> tuple[SecondMetrics, ...]:
        """The complete seconds, oldest first."""
        return tuple(self._seconds)

    @property
    def started(self) -> bool:
        """Whether any shard has reported."""
        return bool(self._newest)

    @property
    def silent(self) -> frozenset[int]:
        """The shards that have not reported anything yet."""
        return self._shards - self._newest.keys()

    @property
    def all_in_stage(self) -> bool:
        """Whether every shard has reported from the present stage."""
        stage = len(self._stages) - 1
        return not self.silent and all(progress.stage == stage for progress in self._newest.values())

    @property
    def outcome(self) -> Outcome:
        """The state of all clients."""
        return sum((progress.outcome for progress in self._newest.values()), Outcome())

    @property
    def errors(self) -> Counter[str]:
        """Failures since the start, by kind."""
        return sum((progress.errors for progress in self._newest.values()), Counter())

    @property
    def messages(self) -> int:
        """Messages received since the start."""
        return sum(progress.messages for progress in self._newest.values())

    @property
    def bytes(self) -> int:
        """Bytes received since the start, with framing."""
        return sum(progress.bytes for progress in self._newest.values())

    def _spread(self, before: Progress, now: Progress) -> None:
        """Spread the time from one message of a shard to the next over the seconds."""
        from_s, to_s = max(0.0, before.at_s - self._began_s), max(0.0, now.at_s - self._began_s)
        for number in range(math.floor(from_s), math.ceil(to_s)):
            share = (min(to_s, number + 1) - max(from_s, number)) / (to_s - from_s)
            second = self._second(number)
            second.messages += share * (now.messages - before.messages)
            second.bytes += share * (now.bytes - before.bytes)
            second.cpu_s += share * (now.cpu_s - before.cpu_s)
        self._second(math.floor((from_s + to_s) / 2)).latency.merge(now.recent)

    def _second(self, number: int) -> _OpenSecond:
        """A second by its number; if that one is complete already, the oldest open one."""
        return self._open.setdefault(max(number, len(self._seconds)), _OpenSecond())

    def _close_second(self, lasted_s: float) -> None:
        number = len(self._seconds)
        seen = self._open.pop(number, None) or _OpenSecond()
        stage = max(0, *(progress.stage for progress in self._newest.values()))
        name, measured_from_s = self._stages[stage] if stage < len(self._stages) else ("", None)
        self.latency = seen.latency.summary()
        self._seconds.append(
            SecondMetrics(
                t_s=number,
                stage=name,
                measured=measured_from_s is not None and self._began_s + number >= measured_from_s,
                connected=self.outcome.connected,
                messages_per_s=round(seen.messages / lasted_s, 1),
                bytes_per_s=round(seen.bytes / lasted_s, 1),
                p50_ms=self.latency.p50,
                p95_ms=self.latency.p95,
                p99_ms=self.latency.p99,
                cpu_percent=round(100 * seen.cpu_s / lasted_s, 1),
            )
        )
