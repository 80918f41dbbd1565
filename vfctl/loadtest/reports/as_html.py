"""One HTML page with plots. It needs nothing else: no script, no font, no file, no network."""

from __future__ import annotations

import math
from importlib import resources
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from vfctl.loadtest.reports import charts
from vfctl.loadtest.reports.charts import Chart, Curve, Values, over_time, percentile_curves
from vfctl.loadtest.reports.wording import (
    command,
    decision,
    fault,
    gate_limit,
    gate_value,
    headline,
    partial,
    repeats,
    sides_of,
)
from vfctl.loadtest.results.model import AbResults, Latency, LoadtestResults
from vfctl.loadtest.results.repeats import middle_run
from vfctl.metrics import LatencyHistogram
from vfctl.quantities import byte_rate_scale, format_byte_rate, format_three_digits

_POINTS_A_NINE: Final = 24
_MOST_NINES: Final = 5.0

_SHADED: Final = "Shaded: measured."

Distributions = dict[str, tuple[Curve, Latency]]
"""By label, a percentile curve and the summary of the same latencies."""


def render(results: LoadtestResults | AbResults, *, strict: bool = False) -> str:
    """The page. Of two servers each is a line in every plot.

    Args:
        strict: see `fault`.
    """
    gates = results.gates
    return _template("ab.html.j2" if isinstance(results, AbResults) else "report.html.j2").render(
        command=command(results),
        results=results,
        headline=headline(results),
        failure=fault(results, strict=strict),
        partial=partial(results),
        repeats="" if isinstance(results, AbResults) else repeats(results),
        decision=decision(results) if isinstance(results, AbResults) else "",
        verdict="failed" if not all(gate.passed for gate in gates) else "passed" if gates else "",
        charts=_charts(results),
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


def _charts(results: LoadtestResults | AbResults) -> list[Chart]:
    """All plots of a page, each with one line per server. A single server's line is named after the metric."""
    sides = sides_of(results)
    seconds = [side[0] for side in zip(*(side.seconds for side in sides.values()), strict=False)]

    def series(label: str, key: str) -> dict[str, Values]:
        return {
            name or label: [getattr(second, key) for second in side.seconds[: len(seconds)]]
            for name, side in sides.items()
        }

    def distributions(label: str, key: str) -> Distributions:
        return {name or label: (_curve(side, key), getattr(side, key)) for name, side in sides.items()}

    if isinstance(results, AbResults):
        latency = {f"{name}, P95": values for name, values in series("", "p95_ms").items()}
    else:
        latency = series("P50", "p50_ms") | series("P95", "p95_ms") | series("P99", "p99_ms")
    percentiles, connects = distributions("latency", "latency_ms"), distributions("connect", "connect_ms")
    schedule = ""
    if isinstance(results, LoadtestResults):
        percentiles |= distributions("corrected", "latency_corrected_ms")
        schedule = " Corrected: for coordinated omission, from when an update was due. Missing updates count, too."
        if results.reconnect_ms.count:
            connects |= distributions("reconnect", "reconnect_ms")
    rates = series("bandwidth", "bytes_per_s")
    divisor, unit = byte_rate_scale(max((rate or 0.0 for values in rates.values() for rate in values), default=0.0))
    at_end = f"Connected at the end of each second. {_SHADED}"
    busy = f"All generator processes together; one above 90 % of a core was the bottleneck. {_SHADED}"
    framed, each_second = f"With WebSocket framing. {_SHADED}", f"Percentiles of each second. {_SHADED}"
    handshake = "TCP connect to the end of the handshake, of the whole run."
    messages = series("messages", "messages_per_s")
    return [
        over_time("latency", "Latency over time", "ms", seconds, latency, each_second, worst=True),
        percentile_curves("percentiles", "Latency by percentile", percentiles, f"Of all measured time.{schedule}"),
        over_time("clients", "Clients over time", "clients", seconds, series("connected", "connected"), at_end),
        over_time("messages", "Messages over time", "messages/s", seconds, messages, _SHADED),
        over_time("bandwidth", "Bandwidth over time", unit, seconds, rates, framed, divisor=divisor),
        percentile_curves("connect", "Connect time by percentile", connects, handshake),
        over_time("cpu", "Generator's CPU over time", "% of a core", seconds, series("CPU", "cpu_percent"), busy),
    ]


def _curve(results: LoadtestResults, key: str) -> Curve:
    """Points (percent, ms) from 0 % to where one value is left, at most 99.999 %; none if nothing was recorded. Of
    repeated runs they are those of the middle run.
    """
    index = middle_run(results.runs)
    max_ms = getattr(results, key).max
    if results.spread is not None:
        spread = results.spread.get(f"{key}.max")
        max_ms = None if spread is None else spread.values[index]
    histogram = LatencyHistogram.decoded(
        results.runs[index].histograms[key], None if max_ms is None else round(1000 * max_ms)
    )
    if not histogram.count:
        return ()
    nines = min(_MOST_NINES, max(1.0, math.log10(histogram.count)))
    steps = math.ceil(nines * _POINTS_A_NINE)
    percents = (100 * (1 - 10 ** (-nines * step / steps)) for step in range(steps + 1))
    return tuple((percent, histogram.percentile_us(percent) / 1000) for percent in percents)
