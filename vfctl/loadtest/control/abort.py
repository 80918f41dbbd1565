"""Abort gates: they end a hopeless run early, judged on the measured stage so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vfctl.loadtest.control.progress import StageProgress
from vfctl.loadtest.results.gate_verdicts import Judged, LiveMetrics, judge, judge_sides
from vfctl.loadtest.results.model import Clients, GateVerdict, Latency
from vfctl.loadtest.scenario.gates import Gate

JUDGE_PERIOD_S: Final = 0.5
"""Gates are judged as often as there are new progress messages."""


class AbortWatch:
    """Judges abort gates while a stage lasts. Times are passed in, monotonic.

    Args:
        gates: each with the measured time after which it is judged.
        baseline: results of an earlier run, for relative gates; None: if two servers are tested, the first one's.
    """

    def __init__(self, gates: Sequence[Gate] = (), baseline: Judged | None = None) -> None:
        self._gates = gates
        self._baseline = baseline
        self._measured_from_s: float | None = None
        self._next_s = 0.0

    def begin_stage(self, measured_from_s: float | None) -> None:
        """Begin a stage. Its measured time begins at `measured_from_s`; None if the stage is not measured."""
        self._measured_from_s = measured_from_s

    def failed_gate(self, now_s: float, stages: Sequence[StageProgress]) -> GateVerdict | None:
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


def _live_metrics(stage: StageProgress) -> LiveMetrics:
    """What is known of a server while a stage lasts."""
    outcome = stage.outcome
    served = outcome.served if outcome else 0
    rates = {"messages_per_s": stage.messages_per_s, "bytes_per_s": stage.bytes_per_s}
    per_client = {
        f"{name}_per_client": rate / served if served and rate is not None else None for name, rate in rates.items()
    }
    return LiveMetrics(
        latency_ms=Latency.of(stage.latency),
        clients=Clients.model_validate(outcome, from_attributes=True) if outcome else None,
        throughput=rates | per_client,
    )
