"""Several runs of the same test as one: every figure is the median of the runs', what must be zero is the worst."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_WORST: Final = frozenset({"failed", "lost", "wrong", "gaps", "duplicates", "reordered", "full_buffers"})
"""Faults: a median would hide those that one run of three has shown, and a gate for none would pass."""

_OF_ONE_RUN: Final = frozenset({"environment", "seconds", "scenario"})
"""Cannot be folded: they are those of the middle run."""


def ended_early(document: Mapping[str, Any]) -> bool:
    """Whether a run has not gone to its end."""
    return bool(document["interrupted"] or document["aborted"] or document.get("failure"))


def middle_run(documents: Sequence[dict[str, Any]]) -> int:
    """Which run has the median P95 (the higher of the two middle ones), of those that count; runs without latencies
    come last.
    """
    p95s_ms = [document["latency_ms"]["p95"] for document in documents]
    ordered = sorted(_counted(documents), key=lambda run: (p95s_ms[run] is None, p95s_ms[run] or 0.0, run))
    return ordered[len(ordered) // 2]


def _counted(documents: Sequence[dict[str, Any]]) -> Sequence[int]:
    """The runs that went to their end; all of them if none has. Half a run would distort the median."""
    return [run for run, document in enumerate(documents) if not ended_early(document)] or range(len(documents))


def fold(documents: Sequence[dict[str, Any]], asked: int | None = None) -> dict[str, Any]:
    """One document of the same form, its gates not judged.

    A figure that one of the runs has no samples for has none here either. `runs` has the histograms of all runs and
    `spread`, by path, the minimum, the maximum and the values of all runs in order. A last run that was ended early is
    not part of the figures if there are others: `interrupted`, `aborted` and `failure` tell of it.

    Args:
        documents: results of each run, at least one.
        asked: how many there should have been; None: as many as there are.
    """
    asked = asked or len(documents)
    if asked == 1:
        return dict(documents[0])
    counted, middle = [documents[run] for run in _counted(documents)], documents[middle_run(documents)]
    spread: dict[str, dict[str, Any]] = {}
    folded = _fold_tables(counted, middle, "", spread)
    saturated = next((each["generator"] for each in counted if each["generator"]["advice"]), middle["generator"])
    folded["generator"].update(verdict=saturated["verdict"], advice=saturated["advice"])
    for mark in _MARKS:
        folded[mark] = documents[-1].get(mark)
    folded["gates"] = []
    folded["runs"] = [run for each in counted for run in each["runs"]]
    folded["spread"] = spread
    folded["repeat"] = {"asked": asked, "counted": len(counted), "begun": len(documents)}
    return folded


_MARKS: Final = ("interrupted", "aborted", "failure")
"""Of the last run: no other can have been ended early."""

_APART: Final = frozenset({"gates", "runs", "spread", "repeat", *_MARKS})


def _fold_tables(
    tables: Sequence[dict[str, Any]], middle: dict[str, Any], path: str, spread: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    counts_faults = path == "errors."
    folded: dict[str, Any] = {}
    for key in _keys(tables):
        if not path and key in _APART:
            folded[key] = None  # keeps its place
            continue
        values: list[Any] = [table.get(key, 0 if counts_faults else None) for table in tables]
        ours = middle.get(key)
        if key in _OF_ONE_RUN and not path:
            folded[key] = ours
        elif all(isinstance(value, dict) for value in values):
            folded[key] = _fold_tables(values, ours or {}, f"{path}{key}.", spread)
        elif key == "stages" and not path:
            folded[key] = _fold_stages(values, ours or [])
        elif any(isinstance(value, bool) for value in values):
            folded[key] = any(values)
        elif all(isinstance(value, int | float) for value in values):
            folded[key] = max(values) if counts_faults or key in _WORST else _median(values)
            spread[f"{path}{key}"] = {"min": min(values), "max": max(values), "values": values}
        elif any(value is None for value in values):
            folded[key] = None
        else:
            folded[key] = ours
    return folded


def _fold_stages(stages: Sequence[list[dict[str, Any]]], middle: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stage by stage; of those that all runs have played, if one was ended early."""
    played = min(map(len, stages))
    return [_fold_tables([each[number] for each in stages], middle[number], "stages.", {}) for number in range(played)]


def _keys(tables: Iterable[dict[str, Any]]) -> list[str]:
    """Of all of them, in the order in which they come."""
    return list(dict.fromkeys(key for table in tables for key in table))


def _median(values: Sequence[float]) -> float:
    """Of counts a count: of an even number of runs the higher of the two middle ones."""
    if all(isinstance(value, int) for value in values):
        return statistics.median_high(values)
    return round(statistics.median(values), 3)
