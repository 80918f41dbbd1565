"""What a running load test looks like from outside: folds the shards' reports into figures for a display."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from vfctl.loadtest.observations import Outcome
from vfctl.loadtest.shard_process import Progress
from vfctl.loadtest.stages import Step
from vfctl.metrics import LatencyHistogram
from vfctl.metrics.histogram import Summary

_NO_SAMPLES: Final = Summary(0)

HISTORY_S: Final = 60
"""Seconds that a sparkline can look back."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a run stands.

    Attributes:
        number, count: which stage, from 0, of how many.
        step: that stage.
        elapsed_s, limit_s: time in it, and how long it takes; for a ramp at most.
        outcome: how the clients fare.
        messages_per_s, bytes_per_s: of the last second.
        last_second, stage: latency in ms, of the last second and of the stage so far; worked out once a second.
        history: P95 in ms of each of the last seconds, oldest first; None for one without a sample.
        errors: failures since the start, by kind.
        finishing: the course is over, results are being collected.
    """

    number: int
    count: int
    step: Step
    elapsed_s: float
    limit_s: float
    outcome: Outcome
    messages_per_s: float = 0.0
    bytes_per_s: float = 0.0
    last_second: Summary = _NO_SAMPLES
    stage: Summary = _NO_SAMPLES
    history: tuple[float | None, ...] = ()
    errors: Counter[str] = field(default_factory=Counter)
    finishing: bool = False


class Live:
    """Takes in progress reports; the time is passed in.

    Args:
        steps: the course.
        shards: how many of them report.
    """

    def __init__(self, steps: list[Step], shards: int) -> None:
        self._steps = steps
        self._shards = shards
        self._number = 0
        self._began_s = 0.0
        self._limit_s = 0.0
        self._progress: dict[int, Progress] = {}
        self._second = LatencyHistogram()
        self._stage = LatencyHistogram()
        self._stage_summary = _NO_SAMPLES
        self._counted_at: tuple[float, int, int] | None = None
        self._rates = (0.0, 0.0)
        self._last_second = _NO_SAMPLES
        self._history: deque[float | None] = deque(maxlen=HISTORY_S)

    def begin(self, number: int, now_s: float, limit_s: float) -> None:
        """A stage begins, which takes so long at most."""
        self._number, self._began_s, self._limit_s = number, now_s, limit_s
        self._stage, self._stage_summary = LatencyHistogram(), _NO_SAMPLES

    def take(self, progress: Progress) -> None:
        """A shard's report."""
        self._progress[progress.shard] = progress
        self._second.merge(progress.recent)
        if progress.stage == self._number:
            self._stage.merge(progress.recent)

    @property
    def heard_from_all(self) -> bool:
        """Every shard has reported from the present stage."""
        there = self._progress.values()
        return len(there) == self._shards and all(progress.stage == self._number for progress in there)

    @property
    def outcome(self) -> Outcome:
        """How all clients fare."""
        there = self._progress.values()
        return sum((progress.outcome for progress in there), Outcome())

    def status(self, now_s: float, *, finishing: bool = False) -> Status:
        """The figures of this moment."""
        self._close_second(now_s)
        errors = sum((progress.errors for progress in self._progress.values()), Counter())
        step = self._steps[self._number]
        outcome = self.outcome if self._progress else Outcome(step.clients)
        return Status(
            self._number,
            len(self._steps),
            step,
            now_s - self._began_s,
            self._limit_s,
            outcome,
            *self._rates,
            self._last_second,
            self._stage_summary,
            tuple(self._history),
            errors,
            finishing,
        )

    def _close_second(self, now_s: float) -> None:
        there = self._progress.values()
        messages, size = sum(each.messages for each in there), sum(each.bytes for each in there)
        if self._counted_at is None:
            self._counted_at = (now_s, messages, size)
            return
        since_s, messages_then, size_then = self._counted_at
        elapsed_s = now_s - since_s
        if elapsed_s < 1.0:
            return
        self._rates = ((messages - messages_then) / elapsed_s, (size - size_then) / elapsed_s)
        self._last_second, self._stage_summary = self._second.summary(), self._stage.summary()
        self._history.append(self._last_second.p95)
        self._second = LatencyHistogram()
        self._counted_at = (now_s, messages, size)
