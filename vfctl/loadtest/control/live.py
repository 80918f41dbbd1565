"""What a running load test shows on the terminal and to Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vfctl.loadtest.control.progress import ProgressFold
from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.scenario.stages import Step
from vfctl.metrics.histogram import Summary

_NO_SAMPLES: Final = Summary(0)

HISTORY_S: Final = 60
"""Seconds that a sparkline shows."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a run at one moment.

    Attributes:
        number, count: index of the present stage, and how many stages there are.
        step: the present stage.
        elapsed_s, limit_s: time in this stage, and its length; for a ramp its longest possible length.
        outcome: the state of the clients.
        messages_per_s, bytes_per_s: in the newest complete second.
        last_second, stage: latency in ms, of the newest complete second and of the stage so far.
        history: P95 in ms of each of the last seconds, oldest first; None for a second without samples.
        errors: failures since the start, by kind.
        finishing: all stages are over, and the results are being collected.
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


def status_of(
    progress: ProgressFold,
    steps: Sequence[Step],
    number: int,
    *,
    elapsed_s: float,
    limit_s: float,
    finishing: bool = False,
) -> Status:
    """The status that follows from the progress of all shards.

    Args:
        steps: all stages.
        number: index of the present stage.
        elapsed_s, limit_s, finishing: as in `Status`.
    """
    newest = progress.seconds[-HISTORY_S:]
    return Status(
        number,
        len(steps),
        steps[number],
        elapsed_s,
        limit_s,
        progress.outcome if progress.started else Outcome(steps[number].clients),
        newest[-1].messages_per_s if newest else 0.0,
        newest[-1].bytes_per_s if newest else 0.0,
        progress.latency,
        progress.stage.latency.summary(),
        tuple(second.p95_ms for second in newest),
        progress.errors,
        finishing,
        progress.messages,
        progress.bytes,
    )
