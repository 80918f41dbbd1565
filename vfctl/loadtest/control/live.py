"""What a running load test looks like from outside: folds the shards' reports into figures for a display."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.generator.shard_process import REPORT_S, Progress
from vfctl.loadtest.scenario.stages import Step
from vfctl.metrics import LatencyHistogram
from vfctl.metrics.histogram import Summary

REPORTS_A_SECOND: Final = round(1 / REPORT_S)

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
        messages, bytes: received since the start.
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
    messages: int = 0
    bytes: int = 0


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
        self._progress: dict[int, deque[Progress]] = {}
        self._stage = LatencyHistogram()
        self._stage_summary = _NO_SAMPLES
        self._last_second = _NO_SAMPLES
        self._second_ends_s = 0.0
        self._history: deque[float | None] = deque(maxlen=HISTORY_S)

    def begin(self, number: int, now_s: float, limit_s: float) -> None:
        """A stage begins, which takes so long at most."""
        self._number, self._began_s, self._limit_s = number, now_s, limit_s
        self._stage, self._stage_summary = LatencyHistogram(), _NO_SAMPLES

    def take(self, progress: Progress) -> None:
        """A shard's report."""
        reports = self._progress.setdefault(progress.shard, deque(maxlen=REPORTS_A_SECOND + 1))
        reports.append(progress)
        if progress.stage == self._number:
            self._stage.merge(progress.recent)

    @property
    def silent(self) -> frozenset[int]:
        """The shards that have not reported anything yet."""
        return frozenset(range(self._shards)) - self._progress.keys()

    @property
    def heard_from_all(self) -> bool:
        """Every shard has reported from the present stage."""
        newest = self._newest()
        return len(newest) == self._shards and all(progress.stage == self._number for progress in newest)

    @property
    def outcome(self) -> Outcome:
        """How all clients fare."""
        return sum((progress.outcome for progress in self._newest()), Outcome())

    def status(self, now_s: float, *, finishing: bool = False) -> Status:
        """The figures of this moment."""
        if now_s >= self._second_ends_s:
            self._second_ends_s = now_s + 1.0
            self._end_second()
        newest = self._newest()
        step = self._steps[self._number]
        return Status(
            self._number,
            len(self._steps),
            step,
            now_s - self._began_s if self._limit_s else 0.0,  # else the run has ended before its first stage
            self._limit_s,
            self.outcome if newest else Outcome(step.clients),
            self._rate("messages"),
            self._rate("bytes"),
            self._last_second,
            self._stage_summary,
            tuple(self._history),
            sum((progress.errors for progress in newest), Counter()),
            finishing,
            sum(progress.messages for progress in newest),
            sum(progress.bytes for progress in newest),
        )

    def _newest(self) -> list[Progress]:
        return [reports[-1] for reports in self._progress.values()]

    def _rate(self, what: str) -> float:
        """A second's, by the times at which the shards have counted."""
        rate = 0.0
        for reports in self._progress.values():
            first, last = reports[0], reports[-1]
            if last.at_s > first.at_s:
                rate += (getattr(last, what) - getattr(first, what)) / (last.at_s - first.at_s)
        return rate

    def _end_second(self) -> None:
        second = LatencyHistogram()
        for reports in self._progress.values():
            for progress in list(reports)[-REPORTS_A_SECOND:]:
                second.merge(progress.recent)
        self._last_second, self._stage_summary = second.summary(), self._stage.summary()
        if self._progress:
            self._history.append(self._last_second.p95)
