"""Figures as reports print them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def three_digits(value: float | None) -> str:
    """Two places below 10, one below 100, else none; a dash where nothing was recorded."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def byte_scale(top: float) -> tuple[float, str]:
    """What to divide by, and the unit, so that `top` bytes/s is a number of one to three digits."""
    for divisor, unit in ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")):
        if top >= divisor:
            return divisor, unit
    return 1.0, "B/s"


def bytes_per_s(rate: float) -> str:
    """A rate in decimal units, as networks have them."""
    divisor, unit = byte_scale(rate)
    return f"{rate / divisor:.3g} {unit}"


def headline(document: Mapping[str, Any]) -> str:
    """What was tested, in a line."""
    return f"{document['clients']['target']:,} clients, {document['duration_s']:g} s measured"


def partial(document: Mapping[str, Any]) -> str:
    """Why these are the results of a part of the run, as a sentence; empty if it went to its end."""
    if document["aborted"] is not None:
        return f"The run was ended early by an abort gate: {gate_finding(document['aborted'])}."
    return "The run was interrupted before its end." if document["interrupted"] else ""


def repeats(document: Mapping[str, Any]) -> str:
    """How several runs became one document, as a sentence; empty for a single run."""
    count = len(document["runs"])
    return f"{count} runs: figures are medians, of faults the worst; plots are of the middle run." if count > 1 else ""


def gate_finding(gate: Mapping[str, Any]) -> str:
    """What a gate has found: `latency_ms.p95 < 30ms: does not hold, the value is 42.5 and the limit 30`."""
    if gate["value"] is None or gate["limit"] is None:
        return f"{gate['expression']}: {gate['reason']}"
    verdict = "holds" if gate["passed"] else "does not hold"
    return f"{gate['expression']}: {verdict}, the value is {gate['value']:.6g} and the limit {gate['limit']:.6g}"


def gate_number(number: float | None) -> str:
    """A gate's value or limit."""
    return "no data" if number is None else f"{number:,.6g}"
