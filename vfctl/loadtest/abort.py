"""Gates that end a hopeless run early: judged while it lasts, on the measured stage so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from vfctl.loadtest.gates import Gate, Verdict, judge
from vfctl.loadtest.observations import Outcome
from vfctl.loadtest.shard_process import Progress
from vfctl.metrics import LatencyHistogram

LOOK_S: Final = 0.5
"""Time between two looks: as often as there are new reports."""


class AbortWatch:
    """Takes in progress reports and says when a gate has failed; the time is passed in, monotonic.

    Args:
        gates: each with the time after which it is judged.
        baseline: results of an earlier run, for gates that are relative to it.
    """

    def __init__(self, gates: Sequence[Gate] = (), baseline: Mapping[str, Any] | None = None) -> None:
        self._gates = gates
        self._baseline = baseline
        self._start_s: float | None = None
        self._next_look_s = 0.0
        self._first: dict[int, Progress] = {}
        self._last: dict[int, Progress] = {}
        self._latency = LatencyHistogram()

    def begin(self, start_s: float | None) -> None:
        """A stage begins; `start_s` is when its measured time does, None if it is not measured."""
        self._start_s = start_s
        self._first, self._last, self._latency = {}, {}, LatencyHistogram()

    def take(self, progress: Progress) -> None:
        """A shard's report. The first one after the start tells of time before it as well, and only sets the zero."""
        if self._start_s is None or progress.at_s < self._start_s:
            return
        if progress.shard in self._first:
            self._latency.merge(progress.recent)
        self._last[progress.shard] = progress
        self._first.setdefault(progress.shard, progress)

    def look(self, now_s: float) -> Verdict | None:
        """The verdict of a gate that has failed, if there is one."""
        if self._start_s is None or now_s < self._next_look_s:
            return None
        self._next_look_s = now_s + LOOK_S
        due = [gate for gate in self._gates if gate.after_s is not None and now_s - self._start_s >= gate.after_s]
        if not due:
            return None
        verdicts = judge(due, self._figures(), self._baseline)
        return next((verdict for verdict in verdicts if not verdict.passed), None)

    def _figures(self) -> dict[str, Any]:
        """What is known so far, by the paths of the results."""
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
