"""Abort gates: they end a hopeless run early, judged on the measured stage so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from vfctl.loadtest.control.progress import StageProgress
from vfctl.loadtest.scenario.gates import Gate, Verdict, judge, judge_sides

JUDGE_PERIOD_S: Final = 0.5
"""Gates are judged as often as there are new progress messages."""


class AbortWatch:
    """Judges abort gates while a stage lasts. Times are passed in, monotonic.

    Args:
        gates: each with the measured time after which it is judged.
        baseline: results of an earlier run, for relative gates; None: if two servers are tested, the first one's.
    """

    def __init__(self, gates: Sequence[Gate] = (), baseline: Mapping[str, Any] | None = None) -> None:
        self._gates = gates
        self._baseline = baseline
        self._measured_from_s: float | None = None
        self._next_s = 0.0

    def begin_stage(self, measured_from_s: float | None) -> None:
        """Begin a stage. Its measured time begins at `measured_from_s`; None if the stage is not measured."""
        self._measured_from_s = measured_from_s

    def failed_gate(self, now_s: float, stages: Sequence[StageProgress]) -> Verdict | None:
        """The first verdict that failed; None if all gates hold or none is due.

        Args:
            stages: the present stage of each server; there are one or two.
        """
        if self._measured_from_s is None or now_s < self._next_s:
            return None
        self._next_s = now_s + JUDGE_PERIOD_S
        measured_s = now_s - self._measured_from_s
        due = [gate for gate in self._gates if gate.after_s is not None and measured_s >= gate.after_s]
        if not due:
            return None
        first, *second = map(_live_metrics, stages)
        if second:
            verdicts = judge_sides(due, {"a": first, "b": second[0]}, self._baseline)
        else:
            verdicts = judge(due, first, self._baseline)
        return next((verdict for verdict in verdicts if not verdict.passed), None)


def _live_metrics(stage: StageProgress) -> dict[str, Any]:
    """What is known of a server while a stage lasts, by the paths of the results."""
    outcome, messages_per_s, bytes_per_s = stage.outcome, stage.messages_per_s, stage.bytes_per_s
    served = outcome.served if outcome else 0
    return {
        "latency_ms": asdict(stage.latency.summary()),
        "clients": asdict(outcome) if outcome else {},
        "throughput": {
            "messages_per_s": messages_per_s,
            "bytes_per_s": bytes_per_s,
            "messages_per_s_per_client": messages_per_s / served if served and messages_per_s is not None else None,
            "bytes_per_s_per_client": bytes_per_s / served if served and bytes_per_s is not None else None,
        },
    }
