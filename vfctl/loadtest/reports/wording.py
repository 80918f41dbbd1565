"""Labels, numbers and sentences that all reports share."""

from __future__ import annotations

import re
from typing import Final

from vfctl.loadtest.results.model import AbResults, GateVerdict, Latency, LoadtestResults, OlderResults
from vfctl.quantities import byte_rate_scale, metric_unit

_LATENCIES: Final = {
    "latency": "latency_ms",
    "latency, corrected for coordinated omission": "latency_corrected_ms",
    "end-to-end voice latency": "voice_ms",
    "connect": "connect_ms",
    "reconnect": "reconnect_ms",
}
"""By label, the attribute of the results."""

_OPTIONAL: Final = ("voice_ms", "reconnect_ms")
"""Latencies that reports leave out if nothing was recorded."""


def latencies(*sides: LoadtestResults) -> dict[str, list[Latency]]:
    """The latencies of one or two servers by their labels."""
    return {
        label: [getattr(side, key) for side in sides]
        for label, key in _LATENCIES.items()
        if key not in _OPTIONAL or any(getattr(side, key).count for side in sides)
    }


def sides_of(results: LoadtestResults | AbResults) -> dict[str, LoadtestResults]:
    """The results of each server by its name: `A` and `B`, or an empty name for a single server."""
    return {"A": results.a, "B": results.b} if isinstance(results, AbResults) else {"": results}


def headline(results: LoadtestResults | AbResults) -> str:
    """What was tested, in one line."""
    run = _first(results)
    return f"{run.clients.target:,} clients, {run.duration_s:g} s measured"


def command(results: LoadtestResults | AbResults) -> str:
    """The command whose results these are."""
    return "vfctl loadtest --ab" if isinstance(results, AbResults) else "vfctl loadtest"


def failure(results: LoadtestResults | AbResults) -> str:
    """What went wrong with the run itself, as sentences; empty if nothing did."""
    return f"The run failed: {results.failure}.{_which_run(_first(results))}" if results.failure else ""


def fault(results: LoadtestResults | AbResults, *, strict: bool = False) -> str:
    """Why a run did not pass apart from its gates, as sentences; empty if nothing is wrong.

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
    """The reason to call a run empty, as part of a sentence; empty if messages were received."""
    if results.measured_anything:
        return ""
    if isinstance(results, LoadtestResults) and results.throughput.messages_per_s:
        return "most runs received no message in the measured time"
    return "no message was received in the measured time"


def minded_by_strict(results: LoadtestResults) -> str:
    """What makes a run fail with --strict; empty if there is nothing."""
    found = [results.generator.verdict] if results.generator.advice else []
    for count, name, verb in ((results.clients.failed, "failed", ""), (results.clients.lost, "lost", "was ")):
        if count:
            found.append(f"1 client {verb}{name}" if count == 1 else f"{count:,} clients {verb and 'were '}{name}")
    return "; ".join(found)


def partial(results: LoadtestResults | AbResults) -> str:
    """Why these results are partial, as sentences; empty if the run was complete, or failed."""
    run = _first(results)
    if results.failure:
        return ""
    if run.aborted is not None:
        return f"The run was ended early by an abort gate: {gate_finding(run.aborted)}.{_which_run(run)}"
    return f"The run was interrupted before its end.{_which_run(run)}" if run.interrupted else ""


def _first(results: LoadtestResults | AbResults) -> LoadtestResults:
    """The results that say how the run ended: of two servers A's, because both end together."""
    return results.a if isinstance(results, AbResults) else results


def _which_run(results: LoadtestResults) -> str:
    repeat = results.repeat
    if repeat is None:
        return ""
    before = repeat.begun - 1
    counted = f" The metrics are from {'the run' if before == 1 else f'the {before} runs'} before." if before else ""
    return f" It was run {repeat.begun} of {repeat.asked}.{counted}"


def repeats(results: LoadtestResults) -> str:
    """How several runs became one result, as a sentence; empty for a single run."""
    count = len(results.runs)
    if count == 1:
        return ""
    return f"{count} runs: metrics are medians, faults are the worst of all runs, and plots show the middle run."


def decision(results: AbResults) -> str:
    """The verdict of a run against two servers, as a sentence."""
    if results.comparison is None:
        return "The two could not be compared."
    sentence = results.comparison.sentence
    return f"{sentence[:1].upper()}{sentence[1:]}."


def gate_finding(gate: GateVerdict) -> str:
    """The verdict of a gate: `latency_ms.p95 < 30ms: failed, the value is 42.5 ms and the limit 30 ms`."""
    if gate.value is None or gate.limit is None:
        return f"{gate.expression}: {gate.reason}"
    verdict = "passed" if gate.passed else "failed"
    return f"{gate.expression}: {verdict}, the value is {gate_value(gate)} and the limit {gate_limit(gate)}"


def gate_value(gate: GateVerdict) -> str:
    """The value that a gate judged, with its unit."""
    return _gate_number(gate.expression, gate.value)


def gate_limit(gate: GateVerdict) -> str:
    """The limit that the value was compared with, with its unit."""
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
