"""Gates that end a hopeless run early: judged while it lasts, on the measured stage so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.generator.shard_process import Progress
from vfctl.loadtest.scenario.gates import Gate, Verdict, judge, judge_sides
from vfctl.metrics import LatencyHistogram

LOOK_S: Final = 0.5
"""Time between two looks: as often as there are new reports."""


class AbortWatch:
    """Takes in progress reports and says when a gate has failed; the time is passed in, monotonic.

    Args:
        gates: each with the time after which it is judged.
        baseline: results of an earlier run, for gates that are relative to it; None: of two servers the first.
        second: the shards of the second server, if two are tested.
    """

    def __init__(
        self,
        gates: Sequence[Gate] = (),
        baseline: Mapping[str, Any] | None = None,
        second: frozenset[int] = frozenset(),
    ) -> None:
        self._gates = gates
        self._baseline = baseline
        self._second = second
        self._start_s: float | None = None
        self._next_look_s = 0.0
        self._sides = (_SoFar(), _SoFar())

    def begin(self, start_s: float | None) -> None:
        """A stage begins; `start_s` is when its measured time does, None if it is not measured."""
        self._start_s = start_s
        self._sides = (_SoFar(), _SoFar())

    def take(self, progress: Progress) -> None:
        """A shard's report."""
        if self._start_s is not None and progress.at_s >= self._start_s:
            self._sides[progress.shard in self._second].take(progress)

    def look(self, now_s: float) -> Verdict | None:
        """The verdict of a gate that has failed, if there is one."""
        if self._start_s is None or now_s < self._next_look_s:
            return None
        self._next_look_s = now_s + LOOK_S
        due = [gate for gate in self._gates if gate.after_s is not None and now_s - self._start_s >= gate.after_s]
        if not due:
            return None
        first, second = (side.figures() for side in self._sides)
        if self._second:
            verdicts = judge_sides(due, {"a": first, "b": second}, self._baseline)
        else:
            verdicts = judge(due, first, self._baseline)
        return next((verdict for verdict in verdicts if not verdict.passed), None)


class _SoFar:
    """What is known of one server in a measured stage."""

    def __init__(self) -> None:
        self._first: dict[int, Progress] = {}
        self._last: dict[int, Progress] = {}
        self._latency = LatencyHistogram()

    def take(self, progress: Progress) -> None:
        """The first report after the start tells of time before it as well, and only sets the zero."""
        if progress.shard in self._first:
            self._latency.merge(progress.recent)
        self._last[progress.shard] = progress
        self._first.setdefault(progress.shard, progress)

    def figures(self) -> dict[str, Any]:
        """By the paths of the results."""
        outcome = sum((progress.outcome for progress in self._last.values()), Outcome())
        served = outcome.connected + outcome.lost + outcome.away
        messages_per_s, bytes_per_s = self._rate("messages"), self._rate("bytes")
        return {
            "latency_ms": asdict(self._latency.summary()),
            "clients": asdict(outcome) if self._last else {},
            "throughput": {
                "messages_per_s": messages_per_s,
                "bytes_per_s": bytes_per_s,
                "messages_per_s_per_client": messages_per_s / served if served and messages_per_s is not None else None,
                "bytes_per_s_per_client": bytes_per_s / served if served and bytes_per_s is not None else None,
            },
        }

    def _rate(self, what: str) -> float | None:
        """A second's, by the times at which the shards have counted; None while none has counted twice."""
        rate = None
        for shard, last in self._last.items():
            first = self._first[shard]
            if last.at_s > first.at_s:
                rate = (rate or 0.0) + (getattr(last, what) - getattr(first, what)) / (last.at_s - first.at_s)
        return rate
