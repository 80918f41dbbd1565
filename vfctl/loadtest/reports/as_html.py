"""One HTML page with plots that needs nothing beside itself: no script, no font, no file, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from vfctl.loadtest.reports import charts
from vfctl.loadtest.reports.charts import Chart, over_time, percentile_curves
from vfctl.loadtest.reports.figures import (
    decision,
    fault,
    fault_of_two,
    gate_limit,
    gate_value,
    headline,
    partial,
    repeats,
)
from vfctl.loadtest.results.build import Results
from vfctl.metrics import LatencyHistogram
from vfctl.quantities import byte_rate_scale, format_byte_rate, format_three_digits

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


def render(document: Mapping[str, Any], curves: Mapping[str, Curve], *, strict: bool = False) -> str:
    """The page.

    Args:
        document: results of schema `vfctl.loadtest`.
        curves: percentile curves by key of the results: `latency_ms`, `latency_corrected_ms`, `connect_ms`,
            `reconnect_ms`; what is missing is not drawn.
        strict: see `fault`.
    """
    gates = document["gates"]
    latency = {"P50": "p50_ms", "P95": "p95_ms", "P99": "p99_ms"}
    by_percentile = {
        label: (curves.get(key, ()), document[key])
        for label, key in (("latency", "latency_ms"), ("against the schedule", "latency_corrected_ms"))
    }
    connects = {
        label: (curves.get(key, ()), document[key])
        for label, key in (("connect", "connect_ms"), ("back after a loss", "reconnect_ms"))
        if key == "connect_ms" or document[key]["count"]
    }
    schedule = " Against the schedule: from when a round was promised, missed ones included."
    return _template("report.html.j2").render(
        command="vfctl loadtest",
        document=document,
        headline=headline(document),
        failure=fault(document, strict=strict),
        partial=partial(document),
        repeats=repeats(document),
        verdict="failed" if not all(gate["passed"] for gate in gates) else "passed" if gates else "",
        charts=_charts(document["seconds"], latency, {"": ""}, by_percentile, connects, schedule),
        size=charts,
    )


def render_ab(document: Mapping[str, Any], curves: Sequence[Mapping[str, Curve]], *, strict: bool = False) -> str:
    """The page of two servers, each of which is a line in every plot.

    Args:
        document: results of schema `vfctl.ab`.
        curves: percentile curves of A and B.
        strict: see `fault`.
    """
    sides = {"A": document["a"], "B": document["b"]}
    seconds = [
        {"stage": a["stage"], "measured": a["measured"]}
        | {f"{label} {name}": value for label, each in (("A", a), ("B", b)) for name, value in each.items()}
        for a, b in zip(*(side["seconds"] for side in sides.values()), strict=False)
    ]
    by_percentile, connects = (
        {label: (of.get(key, ()), side[key]) for (label, side), of in zip(sides.items(), curves, strict=True)}
        for key in ("latency_ms", "connect_ms")
    )
    latency = {f"{label}, P95": f"{label} p95_ms" for label in sides}
    return _template("ab.html.j2").render(
        command="vfctl loadtest --ab",
        document=document,
        headline=headline(sides["A"]),
        failure=fault_of_two(document, strict=strict),
        partial=partial(sides["A"]),
        decision=decision(document),
        charts=_charts(seconds, latency, {label: f"{label} " for label in sides}, by_percentile, connects),
        size=charts,
    )


def _template(name: str) -> Template:
    folder = resources.files(__package__)
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda wanted: folder.joinpath(wanted).read_text("utf-8")),
    )
    environment.filters.update(
        ms=format_three_digits, rate=format_byte_rate, gate_value=gate_value, gate_limit=gate_limit
    )
    return environment.get_template(name)


def _charts(
    seconds: Sequence[Mapping[str, Any]],
    latency: Mapping[str, str],
    sides: Mapping[str, str],
    by_percentile: Mapping[str, tuple[Curve, Mapping[str, Any]]],
    connects: Mapping[str, tuple[Curve, Mapping[str, Any]]],
    schedule: str = "",
) -> list[Chart]:
    """All plots of a page.

    Args:
        seconds: of the run.
        latency: key in `seconds` by label.
        sides: what keys in `seconds` begin with, by label; the label is empty if there is one side only.
        by_percentile, connects: percentile curves and summaries, by label.
        schedule: more to say of the percentile curves.
    """
    shaded = "Shaded: measured."
    bytes_keys = [f"{prefix}bytes_per_s" for prefix in sides.values()]
    divisor, unit = byte_rate_scale(max((second[key] for second in seconds for key in bytes_keys), default=0.0))

    def series(name: str, key: str) -> dict[str, str]:
        return {label or name: f"{prefix}{key}" for label, prefix in sides.items()}

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
            by_percentile, key="percentiles", title="Latency by percentile", note=f"Of all measured time.{schedule}"
        ),
        over_time(
            seconds,
            series("connected", "connected"),
            key="clients",
            title="Clients over time",
            unit="clients",
            note=f"Connected at the end of each second. {shaded}",
        ),
        over_time(
            seconds,
            series("messages", "messages_per_s"),
            key="messages",
            title="Messages over time",
            unit="messages/s",
            note=shaded,
        ),
        over_time(
            seconds,
            series("bandwidth", "bytes_per_s"),
            key="bandwidth",
            title="Bandwidth over time",
            unit=unit,
            note=f"With WebSocket framing. {shaded}",
            divisor=divisor,
        ),
        percentile_curves(
            connects,
            key="connect",
            title="Connect time by percentile",
            note="TCP connect to the end of the handshake, of the whole run.",
        ),
        over_time(
            seconds,
            series("CPU", "cpu_percent"),
            key="cpu",
            title="Generator's CPU over time",
            unit="% of a core",
            note=f"All generator processes together; one above 90 % of a core was the bottleneck. {shaded}",
        ),
    ]
