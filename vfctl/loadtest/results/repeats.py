"""Several runs of one test as one result: every metric is the median of the runs, every fault the worst of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

from vfctl.loadtest.results.model import LoadtestResults, Repeat, Run, Spread
from vfctl.metrics import LatencyHistogram

_WORST: Final = frozenset({"failed", "lost", "wrong", "gaps", "duplicates", "reordered", "full_buffers"})
"""Faults: a median would hide those of one run in three, and a gate that forbids them would pass."""

_NOT_FOLDED: Final = (".environment", ".scenario", ".aborted")
"""Parts that have numbers and no median: they are those of the middle run."""


def middle_run(runs: Sequence[Run]) -> int:
    """The index of the run with the median P95 latency (of the higher of the two middle ones); runs without latencies
    come last.
    """
    latencies = [LatencyHistogram.decoded(run.histograms["latency_ms"]) for run in runs]
    p95s_us = [histogram.percentile_us(95) if histogram.count else None for histogram in latencies]
    ordered = sorted(range(len(runs)), key=lambda run: (p95s_us[run] is None, p95s_us[run] or 0, run))
    return ordered[len(ordered) // 2]


def fold(runs: Sequence[LoadtestResults], asked: int | None = None) -> LoadtestResults:
    """The results of all runs as one, its gates not judged.

    A metric that one of the runs has no samples for has none here either. `runs` has the histograms of all runs, and
    `spread` the minimum, the maximum and the values of all runs in order, by path. A last run that was ended early is
    not counted if there are others: `interrupted`, `aborted` and `failure` tell of it.

    Args:
        runs: the results of each run, at least one.
        asked: how many runs there should have been; None: as many as there are.
    """
    asked = asked or len(runs)
    if asked == 1:
        return runs[0]
    # Half a run would distort the median.
    counted = [run for run in runs if not run.ended_early] or list(runs)
    histograms = [part for run in counted for part in run.runs]
    middle, last = counted[middle_run(histograms)], runs[-1]
    spread: dict[str, Spread] = {}
    folded: LoadtestResults = _fold(counted, middle, "", spread)
    saturated = next((run.generator for run in counted if run.generator.advice), middle.generator)
    generator = folded.generator.model_copy(update={"verdict": saturated.verdict, "advice": saturated.advice})
    return folded.model_copy(
        update={
            # Only the last run can have been ended early.
            **{name: getattr(last, name) for name in ("interrupted", "aborted", "failure")},
            "generator": generator,
            "gates": [],
            "runs": histograms,
            "spread": spread,
            "repeat": Repeat(asked=asked, begun=len(runs), counted=len(counted)),
        }
    )


def _fold(values: Sequence[Any], middle: Any, path: str, spread: dict[str, Spread]) -> Any:
    """The same part of all runs as one; numbers are added to `spread` by their path.

    Args:
        middle: this part of the middle run, which stands where there is no median.
    """
    if path in _NOT_FOLDED:
        return middle
    if all(isinstance(value, BaseModel) for value in values):
        parts = {
            name: _fold([getattr(value, name) for value in values], getattr(middle, name), f"{path}.{name}", spread)
            for name in type(middle).model_fields
        }
        return middle.model_copy(update=parts)
    if all(isinstance(value, dict) for value in values):
        none = 0 if path == ".errors" else None
        keys = dict.fromkeys(key for value in values for key in value)
        return {
            key: _fold([value.get(key, none) for value in values], middle.get(key), f"{path}.{key}", spread)
            for key in keys
        }
    if path == ".stages":  # those that all runs have finished, if one was ended early; they have no spread
        return [_fold(stage, stage[values.index(middle)], path, {}) for stage in zip(*values, strict=False)]
    if any(isinstance(value, bool) for value in values):
        return any(values)
    if all(isinstance(value, int | float) for value in values):
        spread[path.removeprefix(".")] = Spread(min=min(values), max=max(values), values=list(values))
        is_fault = path.startswith(".errors.") or path.rpartition(".")[2] in _WORST
        return max(values) if is_fault else _median(values)
    return None if None in values else middle


def _median(values: Sequence[float]) -> float:
    """Counts stay counts: of an even number of runs it is the higher of the two middle ones."""
    if all(isinstance(value, int) for value in values):
        return statistics.median_high(values)
    return round(statistics.median(values), 3)
