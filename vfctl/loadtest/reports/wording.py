"""Numbers and sentences that all reports share."""

from __future__ import annotations

import re
from typing import Final

from vfctl.loadtest.results.model import AbResults, GateVerdict, Latency, LoadtestResults, OlderResults
from vfctl.quantities import byte_rate_scale, metric_unit

_LATENCIES: Final = {
    "latency": "latency_ms",
    "against the schedule": "latency_corrected_ms",
    "voice, mouth to ear": "voice_ms",
    "connect": "connect_ms",
    "back after a loss": "reconnect_ms",
}
"""The latencies of a run by their labels."""

_OPTIONAL: Final = ("voice_ms", "reconnect_ms")
"""Latencies that are left out of reports if nothing was recorded."""


def latencies(*sides: LoadtestResults) -> dict[str, list[Latency]]:
    """The latencies of one or two servers by their labels."""
    return {
        label: [getattr(side, key) for side in sides]
        for label, key in _LATENCIES.items()
        if key not in _OPTIONAL or any(getattr(side, key).count for side in sides)
    }


def sides_of(results: LoadtestResults | AbResults) -> dict[str, LoadtestResults]:
    """The results of each server by its name, which is empty if there is only one."""
    return {"A": results.a, "B": results.b} if isinstance(results, AbResults) else {"": results}


def headline(results: LoadtestResults | AbResults) -> str:
    """What was tested, in a line."""
    run = _first(results)
    return f"{run.clients.target:,} clients, {run.duration_s:g} s measured"


def command(results: LoadtestResults | AbResults) -> str:
    """The command whose results these are."""
    return "vfctl loadtest --ab" if isinstance(results, AbResults) else "vfctl loadtest"


def failure(results: LoadtestResults | AbResults) -> str:
    """What has gone wrong with the run itself, as sentences; empty if nothing has."""
    return f"The run failed: {results.failure}.{_which_run(_first(results))}" if results.failure else ""


def fault(results: LoadtestResults | AbResults, *, strict: bool = False) -> str:
    """Why a run has not passed, beside its gates, as sentences; empty if nothing is wrong.

    Args:
        strict: a saturated generator, and clients that failed or were lost, are faults.
    """
    if reason := failure(results):
        return reason
    if isinstance(results, AbResults):
        faults = ((name, fault(side, strict=strict)) for name, side in sides_of(results).items())
        return " ".join(f"{name}: {reason}" for name, reason in faults if reason)
    if (nothing := nothing_measured(results)) and not partial(results):
        return f"{nothing[:1].upper()}{nothing[1:]}."
    return f"With --strict: {what}." if strict and (what := minded_by_strict(results)) else ""


def nothing_measured(results: LoadtestResults | OlderResults) -> str:
    """That nothing was measured; empty if something was."""
    if results.measured_anything:
        return ""
    if isinstance(results, LoadtestResults) and results.throughput.messages_per_s:
        return "most runs have measured nothing"
    return "not a single message was received in the measured time"


def minded_by_strict(results: LoadtestResults) -> str:
    """What --strict minds; empty if there is nothing."""
    found = [results.generator.verdict] if results.generator.advice else []
    for count, name, verb in ((results.clients.failed, "failed", ""), (results.clients.lost, "lost", "was ")):
        if count:
            found.append(f"1 client {verb}{name}" if count == 1 else f"{count:,} clients {verb and 'were '}{name}")
    return "; ".join(found)


def partial(results: LoadtestResults | AbResults) -> str:
    """Why these are the results of a part of the run, as sentences; empty if it went to its end, or failed."""
    run = _first(results)
    if results.failure:
        return ""
    if run.aborted is not None:
        return f"The run was ended early by an abort gate: {gate_finding(run.aborted)}.{_which_run(run)}"
    return f"The run was interrupted before its end.{_which_run(run)}" if run.interrupted else ""


def _first(results: LoadtestResults | AbResults) -> LoadtestResults:
    """Both servers of a run were ended together: the first tells of it."""
    return results.a if isinstance(results, AbResults) else results


def _which_run(results: LoadtestResults) -> str:
    repeat = results.repeat
    if repeat is None:
        return ""
    before = repeat.begun - 1
    counted = (
        ""
        if not before
        else " Figures are of the one before."
        if before == 1
        else f" Figures are of the {before} before."
    )
    return f" It was run {repeat.begun} of {repeat.asked}.{counted}"


def repeats(results: LoadtestResults) -> str:
    """How several runs became one result, as a sentence; empty for a single run."""
    count = len(results.runs)
    return f"{count} runs: figures are medians, of faults the worst; plots are of the middle run." if count > 1 else ""


def decision(results: AbResults) -> str:
    """What a run against two servers has decided, as a sentence."""
    if results.comparison is None:
        return "The two could not be compared."
    sentence = results.comparison.sentence
    return f"{sentence[:1].upper()}{sentence[1:]}."


def gate_finding(gate: GateVerdict) -> str:
    """What a gate has found: `latency_ms.p95 < 30ms: does not hold, the value is 42.5 and the limit 30`."""
    if gate.value is None or gate.limit is None:
        return f"{gate.expression}: {gate.reason}"
    verdict = "holds" if gate.passed else "does not hold"
    return f"{gate.expression}: {verdict}, the value is {gate_value(gate)} and the limit {gate_limit(gate)}"


def gate_value(gate: GateVerdict) -> str:
    """What a gate has judged, with its unit."""
    return _gate_number(gate.expression, gate.value)


def gate_limit(gate: GateVerdict) -> str:
    """What it was compared with, with its unit."""
    return _gate_number(gate.expression, gate.limit)


def _gate_number(expression: str, number: float | None) -> str:
    if number is None:
        return "no data"
    path = re.match(r"\s*[\w.-]*", expression)
    unit = None if path is None else metric_unit(path[0].strip())
    if unit is not None and unit.name == "B/s":
        divisor, name = byte_rate_scale(abs(number), digits=6)
        return f"{number / divisor:,.6g} {name}"
    text = f"{number:,.0f}" if abs(number) >= 1e6 else f"{number:,.6g}"
    return text if unit is None else f"{text}{unit.name}" if unit.name == "/s" else f"{text} {unit.name}"
