"""One HTML page with plots that needs nothing beside itself: no script, no font, no file, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from vfctl.loadtest.reports import charts
from vfctl.loadtest.reports.charts import Chart, over_time, percentile_curves
from vfctl.loadtest.reports.figures import (
    byte_scale,
    bytes_per_s,
    gate_number,
    headline,
    partial,
    repeats,
    three_digits,
)
from vfctl.loadtest.results import Results
from vfctl.metrics import LatencyHistogram

_POINTS_A_NINE: Final = 24
_MOST_NINES: Final = 5.0

Curve = Sequence[tuple[float, float]]


def percentile_curve(histogram: LatencyHistogram) -> Curve:
    """Points (percent, ms) from 0 % to where one value of all is left, at most 99.999 %; none if it is empty."""
    if not histogram.count:
        return ()
    nines = min(_MOST_NINES, max(1.0, math.log10(histogram.count)))
    steps = math.ceil(nines * _POINTS_A_NINE)
    percents = (100 * (1 - 10 ** (-nines * step / steps)) for step in range(steps + 1))
    return tuple((percent, histogram.percentile_us(percent) / 1000) for percent in percents)


def curves_of(results: Results) -> dict[str, Curve]:
    """The percentile curves of a run."""
    return {
        "latency_ms": percentile_curve(results.headline.latency),
        "latency_corrected_ms": percentile_curve(results.headline.latency_corrected),
        "connect_ms": percentile_curve(results.connects.connect),
        "reconnect_ms": percentile_curve(results.connects.reconnect),
    }


def render(document: Mapping[str, Any], curves: Mapping[str, Curve]) -> str:
    """The page.

    Args:
        document: results of schema `vfctl.loadtest`.
        curves: percentile curves by key of the results: `latency_ms`, `latency_corrected_ms`, `connect_ms`,
            `reconnect_ms`; what is missing is not drawn.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(ms=three_digits, rate=bytes_per_s, gate_number=gate_number)
    template = environment.from_string(resources.files(__package__).joinpath("report.html.j2").read_text("utf-8"))
    gates = document["gates"]
    return template.render(
        document=document,
        headline=headline(document),
        partial=partial(document),
        repeats=repeats(document),
        verdict="failed" if not all(gate["passed"] for gate in gates) else "passed" if gates else "",
        charts=_charts(document, curves),
        size=charts,
    )


def _charts(document: Mapping[str, Any], curves: Mapping[str, Curve]) -> list[Chart]:
    seconds = document["seconds"]
    shaded = "Shaded: measured."
    divisor, unit = byte_scale(max((second["bytes_per_s"] for second in seconds), default=0.0))
    latency = {"P50": "p50_ms", "P95": "p95_ms", "P99": "p99_ms"}
    return [
        over_time(
            seconds,
            latency,
            key="latency",
            title="Latency over time",
            unit="ms",
            note=f"Percentiles of each second. {shaded}",
            worst=True,
        ),
        percentile_curves(
            {
                label: (curves.get(key, ()), document[key])
                for label, key in (("latency", "latency_ms"), ("against the schedule", "latency_corrected_ms"))
            },
            key="percentiles",
            title="Latency by percentile",
            note="Of all measured time. Against the schedule: from when a round was promised, missed ones included.",
        ),
        over_time(
            seconds,
            {"connected": "connected"},
            key="clients",
            title="Clients over time",
            unit="clients",
            note=f"Connected at the end of each second. {shaded}",
        ),
        over_time(
            seconds,
            {"messages": "messages_per_s"},
            key="messages",
            title="Messages over time",
            unit="messages/s",
            note=shaded,
        ),
        over_time(
            seconds,
            {"bandwidth": "bytes_per_s"},
            key="bandwidth",
            title="Bandwidth over time",
            unit=unit,
            note=f"With WebSocket framing. {shaded}",
            divisor=divisor,
        ),
        percentile_curves(
            {
                label: (curves.get(key, ()), document[key])
                for label, key in (("connect", "connect_ms"), ("back after a loss", "reconnect_ms"))
                if key == "connect_ms" or document[key]["count"]
            },
            key="connect",
            title="Connect time by percentile",
            note="TCP connect to the end of the handshake, of the whole run.",
        ),
        over_time(
            seconds,
            {"CPU": "cpu_percent"},
            key="cpu",
            title="Generator's CPU over time",
            unit="% of a core",
            note=f"All generator processes together; one above 90 % of a core was the bottleneck. {shaded}",
        ),
    ]
