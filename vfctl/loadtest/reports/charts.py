"""Charts as geometry: lines, ticks and bands in the units of an SVG view box. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vfctl.loadtest.results.model import Latency, SecondMetrics
from vfctl.quantities import format_three_digits

WIDTH: Final = 720
HEIGHT: Final = 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 32, 28
POINTS: Final = 400
"""A line has at most this many: one per second of a day would be megabytes, and no screen shows more."""

Values = Sequence[float | None]

Curve = Sequence[tuple[float, float]]
"""Points of a distribution: percent below 100, and ms."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: its position and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Band:
    """A shaded part of the time axis, with the stage's name if it fits."""

    x: float
    width: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """A series as it is drawn, and its summary.

    Attributes:
        label: its name.
        path: SVG path data.
        area: the same down to the axis, closed; empty for a line that is not filled.
        dots: values without a neighbour to connect to, as (x, y).
        summary: for the table beside the plot, in the order of the chart's columns.
    """

    label: str
    path: str
    area: str
    dots: tuple[tuple[float, float], ...]
    summary: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot.

    Attributes:
        key: an id, unique in the page.
        title, note: its heading, and how to read it.
        unit: of the vertical axis.
        x_ticks, y_ticks: the marks of the axes.
        bands: measured time.
        lines: what is plotted.
        columns: of the table beside it.
    """

    key: str
    title: str
    note: str
    unit: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    bands: list[Band]
    lines: list[Line]
    columns: tuple[str, ...]


def nice_ticks(top: float, wanted: int = 4) -> list[float]:
    """Round numbers from 0 to at least `top`, in steps of 1, 2 or 5 times a power of ten."""
    top = max(top, 1e-9)
    magnitude = 10.0 ** math.floor(math.log10(top / wanted))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude * wanted >= top * (1 - 1e-9))
    return [number * step for number in range(math.ceil(top / step - 1e-9) + 1)]


_TIME_STEPS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)


def _time_ticks(span_s: float) -> list[Tick]:
    step = next((step for step in _TIME_STEPS_S if span_s / step <= 8), math.ceil(span_s / 8))
    size = 3600 if step >= 3600 else 60 if step >= 60 else 1
    unit = {3600: "h", 60: "min", 1: "s"}[size]
    times = range(0, math.floor(span_s + 1e-9) + 1, step)
    return [Tick(_x(at_s / span_s), f"{at_s / size:g} {unit}") for at_s in times]


def over_time(
    key: str,
    title: str,
    unit: str,
    seconds: Sequence[SecondMetrics],
    series: Mapping[str, Values],
    note: str = "",
    *,
    divisor: float = 1.0,
    worst: bool = False,
) -> Chart:
    """Series of a run's seconds.

    Args:
        key, title, unit, note: see `Chart`.
        seconds: for the time axis, and what of it was measured.
        series: one value for each of `seconds`, by label.
        divisor: values are divided by it.
        worst: if several seconds become one point, it is the highest of them, otherwise their mean.
    """
    span_s = max(1, len(seconds))
    stride = math.ceil(span_s / POINTS)
    drawn = {
        label: values if divisor == 1 else [None if value is None else value / divisor for value in values]
        for label, values in series.items()
    }
    measured = [second.measured for second in seconds]
    top = max((value for values in drawn.values() for value in values if value is not None), default=0.0)
    ticks = nice_ticks(top or 1.0)
    lines = []
    for label, values in drawn.items():
        folded = _folded(values, stride, worst)
        xs = [_x(min(span_s, (number + 0.5) * stride) / span_s) for number in range(len(folded))]
        lines.append(_line(label, xs, folded, ticks[-1], _spread(values, measured), filled=len(drawn) == 1))
    if stride > 1:
        note += f" Each point is the {'highest' if worst else 'mean'} of {stride} seconds."
    return Chart(
        key,
        title,
        note.strip(),
        unit,
        _time_ticks(span_s),
        [Tick(_y(tick / ticks[-1]), f"{tick:,g}") for tick in ticks],
        _bands(seconds, span_s),
        lines,
        ("lowest", "median", "highest"),
    )


def percentile_curves(key: str, title: str, curves: Mapping[str, tuple[Curve, Latency]], note: str = "") -> Chart:
    """Distributions, on an axis where each further nine takes the same width.

    Args:
        curves: by label, the points, none where nothing was recorded; and the summary of the same latencies.
    """
    nines = [_nines(points[-1][0]) for points, _ in curves.values() if points]
    width = max(1.0, *nines) if nines else 1.0
    top = max((value for points, _ in curves.values() for _, value in points), default=1.0)
    ticks = nice_ticks(top)
    lines = []
    for label, (points, summary) in curves.items():
        xs = [_x(_nines(percent) / width) for percent, _ in points]
        columns = tuple(format_three_digits(getattr(summary, name)) for name in ("p50", "p95", "p99", "max"))
        lines.append(_line(label, xs, [value for _, value in points], ticks[-1], columns))
    marks = [(0.0, "0 %"), (50.0, "50 %"), (90.0, "90 %"), (99.0, "99 %"), (99.9, "99.9 %"), (99.99, "99.99 %")]
    x_ticks = [Tick(_x(_nines(percent) / width), text) for percent, text in marks if _nines(percent) <= width + 1e-9]
    y_ticks = [Tick(_y(tick / ticks[-1]), f"{tick:,g}") for tick in ticks]
    return Chart(key, title, note, "ms", x_ticks, y_ticks, [], lines, ("P50", "P95", "P99", "max"))


def _nines(percent: float) -> float:
    """0 for 0 %, 1 for 90 %, 2 for 99 %."""
    return -math.log10(1 - percent / 100)


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _folded(values: Values, stride: int, worst: bool) -> list[float | None]:
    folded: list[float | None] = []
    for start in range(0, len(values), stride):
        there = [value for value in values[start : start + stride] if value is not None]
        folded.append((max(there) if worst else sum(there) / len(there)) if there else None)
    return folded


def _line(
    label: str,
    xs: Sequence[float],
    values: Values,
    top: float,
    summary: tuple[str, ...],
    *,
    filled: bool = False,
) -> Line:
    """Missing values are gaps. A value between two gaps is a dot."""
    path, dots = [], []
    for number, (x, value) in enumerate(zip(xs, values, strict=True)):
        if value is None:
            continue
        before = number > 0 and values[number - 1] is not None
        after = number + 1 < len(values) and values[number + 1] is not None
        if before or after:
            path.append(f"{'L' if before else 'M'}{x:g} {_y(value / top):g}")
        else:
            dots.append((x, _y(value / top)))
    drawn = "".join(path)
    area = f"{drawn}L{xs[-1]:g} {_y(0):g}L{xs[0]:g} {_y(0):g}Z" if filled and drawn and None not in values else ""
    return Line(label, drawn, area, tuple(dots), summary)


def _bands(seconds: Sequence[SecondMetrics], span_s: float) -> list[Band]:
    """One band for each stage, as far as it is measured."""
    bands = []
    start = 0
    stretches = [(second.stage, second.measured) for second in seconds]
    for number in range(1, len(seconds) + 1):
        if number == len(seconds) or stretches[number] != stretches[start]:
            if seconds[start].measured:
                x, end = _x(start / span_s), _x(number / span_s)
                name = seconds[start].stage
                bands.append(Band(x, round(end - x, 1), name if len(name) * 7 + 12 < end - x else ""))
            start = number
    return bands


def _spread(values: Values, measured: Sequence[bool]) -> tuple[str, str, str]:
    """Lowest, median and highest value of the measured seconds, or of all seconds if none is measured."""
    chosen = [value for value, counts in zip(values, measured, strict=True) if value is not None and counts]
    there = sorted(chosen or [value for value in values if value is not None])
    if not there:
        return ("–", "–", "–")
    lowest, median, highest = (
        f"{value:,}" if isinstance(value, int) else format_three_digits(value)
        for value in (there[0], there[len(there) // 2], there[-1])
    )
    return lowest, median, highest
