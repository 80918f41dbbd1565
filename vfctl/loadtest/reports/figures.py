"""Figures as reports print them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vfctl.loadtest.results.comparison import Comparison
from vfctl.loadtest.scenario.gates import look_up
from vfctl.quantities import byte_rate_scale, metric_unit


def headline(document: Mapping[str, Any]) -> str:
    """What was tested, in a line."""
    return f"{document['clients']['target']:,} clients, {document['duration_s']:g} s measured"


def failure(document: Mapping[str, Any]) -> str:
    """What has gone wrong with the run itself, as sentences; empty if nothing has."""
    reason = document.get("failure")
    return f"The run failed: {reason}.{_which_run(document)}" if reason else ""


def fault(document: Mapping[str, Any], *, strict: bool = False) -> str:
    """Why a run has not passed, beside its gates, as sentences; empty if nothing is wrong.

    Args:
        strict: a generator that was saturated, and clients that failed or were lost, are faults.
    """
    if reason := failure(document):
        return reason
    if (nothing := nothing_measured(document)) and not partial(document):
        return f"{nothing[:1].upper()}{nothing[1:]}."
    return f"With --strict: {what}." if strict and (what := minded_by_strict(document)) else ""


def nothing_measured(document: Mapping[str, Any]) -> str:
    """That nothing was measured; empty if something was."""
    if look_up(document, "throughput.messages_per_s") != 0:  # results of older versions may not tell
        return ""
    return "not a single message was received in the measured time"


def minded_by_strict(document: Mapping[str, Any]) -> str:
    """What --strict minds; empty if there is nothing."""
    clients, generator = document["clients"], document["generator"]
    found = [generator["verdict"]] if generator["advice"] else []
    for name, verb in (("failed", ""), ("lost", "was ")):
        if count := clients[name]:
            found.append(f"1 client {verb}{name}" if count == 1 else f"{count:,} clients {verb and 'were '}{name}")
    return "; ".join(found)


def fault_of_two(document: Mapping[str, Any], *, strict: bool = False) -> str:
    """The same of two servers."""
    if reason := failure(document):
        return reason
    faults = ((name, fault(document[side], strict=strict)) for name, side in (("A", "a"), ("B", "b")))
    return " ".join(f"{name}: {reason}" for name, reason in faults if reason)


def partial(document: Mapping[str, Any]) -> str:
    """Why these are the results of a part of the run, as sentences; empty if it went to its end, or failed."""
    if document.get("failure"):
        return ""
    if document["aborted"] is not None:
        return f"The run was ended early by an abort gate: {gate_finding(document['aborted'])}.{_which_run(document)}"
    return f"The run was interrupted before its end.{_which_run(document)}" if document["interrupted"] else ""


def _which_run(document: Mapping[str, Any]) -> str:
    repeat = document.get("repeat")
    if repeat is None:
        return ""
    before = repeat["begun"] - 1
    counted = (
        ""
        if not before
        else " Figures are of the one before."
        if before == 1
        else f" Figures are of the {before} before."
    )
    return f" It was run {repeat['begun']} of {repeat['asked']}.{counted}"


def repeats(document: Mapping[str, Any]) -> str:
    """How several runs became one document, as a sentence; empty for a single run."""
    count = len(document["runs"])
    return f"{count} runs: figures are medians, of faults the worst; plots are of the middle run." if count > 1 else ""


def decision(document: Mapping[str, Any]) -> str:
    """What a run against two servers has decided, as a sentence."""
    if document["comparison"] is None:
        return "The two could not be compared."
    sentence = Comparison(**document["comparison"]).sentence
    return f"{sentence[:1].upper()}{sentence[1:]}."


def gate_finding(gate: Mapping[str, Any]) -> str:
    """What a gate has found: `latency_ms.p95 < 30ms: does not hold, the value is 42.5 and the limit 30`."""
    if gate["value"] is None or gate["limit"] is None:
        return f"{gate['expression']}: {gate['reason']}"
    verdict = "holds" if gate["passed"] else "does not hold"
    return f"{gate['expression']}: {verdict}, the value is {gate_value(gate)} and the limit {gate_limit(gate)}"


def gate_value(gate: Mapping[str, Any]) -> str:
    """What a gate has judged, with its unit."""
    return _gate_number(gate["expression"], gate["value"])


def gate_limit(gate: Mapping[str, Any]) -> str:
    """What it was compared with, with its unit."""
    return _gate_number(gate["expression"], gate["limit"])


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
