"""Durations, sizes, counts and rates: their units, how people write them, and how vfctl prints them.

Every parser takes a number with or without a space before its unit: `10s`, `1.5 min`, `64KiB`, `1k`. It raises
UsageError with what was given, what was expected, and an example. Every formatter rounds first and then chooses the
unit, so that 999.6 B/s is printed as `1 kB/s`. What a formatter prints, the parser of its kind reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from vfctl.errors import UsageError

Factor: TypeAlias = tuple[int, int]
"""A numerator and a denominator. Whole numbers keep `9ms` at the float nearest to 0.009, which 9 * 0.001 is not."""

_DURATIONS: Final[Mapping[str, Factor]] = {
    "us": (1, 10**6),
    "µs": (1, 10**6),
    "ms": (1, 1000),
    "s": (1, 1),
    "min": (60, 1),
    "h": (3600, 1),
    "d": (86_400, 1),
}
"""In seconds."""

_COUNTS: Final[Mapping[str, Factor]] = {"k": (10**3, 1), "M": (10**6, 1), "G": (10**9, 1)}

_SIZES: Final[Mapping[str, Factor]] = {
    "B": (1, 1),
    "bytes": (1, 1),
    "byte": (1, 1),
    "kB": (10**3, 1),
    "MB": (10**6, 1),
    "GB": (10**9, 1),
    "TB": (10**12, 1),
    "KiB": (2**10, 1),
    "MiB": (2**20, 1),
    "GiB": (2**30, 1),
    "TiB": (2**40, 1),
}
"""In bytes."""

_BYTE_RATES: Final[Mapping[str, Factor]] = {
    "B/s": (1, 1),
    "kB/s": (10**3, 1),
    "MB/s": (10**6, 1),
    "GB/s": (10**9, 1),
    "TB/s": (10**12, 1),
    "KiB/s": (2**10, 1),
    "MiB/s": (2**20, 1),
    "GiB/s": (2**30, 1),
    "bit/s": (1, 8),
    "kbit/s": (10**3, 8),
    "Mbit/s": (10**6, 8),
    "Gbit/s": (10**9, 8),
}
"""In bytes per second."""

_RATES: Final[Mapping[str, Factor]] = {"/s": (1, 1), "Hz": (1, 1), "/min": (1, 60)}
"""Per second."""

_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-zµ/]*)\s*", re.ASCII)
_GROUPED: Final = re.compile(r"\s*\d{1,3}(,\d{3})+\s*")


# --- Parsing -----------------------------------------------------------------------------------------------------


def parse_duration_s(text: str, option: str) -> float:
    """Parse a duration such as `10s`, `250ms`, `1.5min`, `2h` or `90`, which is in seconds.

    Args:
        text: what was given.
        option: what it was given for; the error begins with it.

    Returns:
        Seconds, finite, 0 or more.

    Raises:
        UsageError: it is no duration, or is negative.
    """
    seconds = _parse(text, _DURATIONS, bare="s")
    if seconds is None:
        raise UsageError(
            f"{option} is {text!r}, expected a duration",
            hint=f"a number of seconds, or a number with a unit ({_listed(_DURATIONS)}); for example 90, 10s or 1.5min",
        )
    return seconds


def parse_positive_duration_s(text: str, option: str) -> float:
    """Parse a duration above zero; see `parse_duration_s`.

    Raises:
        UsageError: it is no duration, or not above zero.
    """
    seconds = parse_duration_s(text, option)
    if seconds == 0:
        raise UsageError(f"{option} is {text!r}, expected a duration above zero", hint="for example 10s or 1.5min")
    return seconds


def parse_count(text: str, option: str) -> int:
    """Parse a count such as `1000`, `1,000`, `1k`, `1.5k` or `2M`.

    Raises:
        UsageError: it is no count, not whole, or negative.
    """
    plain = text.replace(",", "") if _GROUPED.fullmatch(text) else text
    count = _whole(_ratio(plain, _COUNTS, bare=""))
    if count is None:
        raise UsageError(
            f"{option} is {text!r}, expected a count",
            hint=f"a whole number, with or without a unit ({_listed(_COUNTS)}); for example 500, 1k or 1.5M",
        )
    return count


def parse_size_bytes(text: str, option: str) -> int:
    """Parse a size such as `100MB`, `64KiB` or `512B`. A unit is required, in capitals or not.

    Returns:
        Bytes, 1 or more.

    Raises:
        UsageError: it is no size, or less than a byte.
    """
    size = _parse(text, _SIZES, any_case=True)
    if size is None or size < 1:
        raise UsageError(
            f"{option} is {text!r}, expected a size",
            hint=f"a number with a unit ({_listed(_SIZES)}); for example 100MB or 64KiB",
        )
    return round(size)


def parse_byte_rate(text: str, option: str) -> float:
    """Parse a data rate such as `10MB/s` or `100Mbit/s`. A unit is required.

    Returns:
        Bytes per second.

    Raises:
        UsageError: it is no data rate.
    """
    rate = _parse(text, _BYTE_RATES)
    if rate is None:
        raise UsageError(
            f"{option} is {text!r}, expected a data rate",
            hint=f"a number with a unit ({_listed(_BYTE_RATES)}); for example 10MB/s or 100Mbit/s",
        )
    return rate


def parse_rate_hz(text: str, option: str) -> float:
    """Parse how often a second: `20Hz`, `20/s`, `30/min` or `20`.

    Raises:
        UsageError: it is no rate.
    """
    rate = _parse(text, _RATES, bare="/s")
    if rate is None:
        raise UsageError(
            f"{option} is {text!r}, expected a rate",
            hint=f"a number per second, or a number with a unit ({_listed(_RATES)}); for example 20, 20Hz or 30/min",
        )
    return rate


def parse_count_or_duration(text: str, option: str) -> tuple[int | None, float | None]:
    """Parse a whole number above zero (with k, M or G, or without), or a duration above zero with its unit.

    Returns:
        (count, None) or (None, seconds).

    Raises:
        UsageError: it is neither, or zero.
    """
    if count := _whole(_ratio(text, _COUNTS, bare="")):
        return count, None
    seconds = _parse(text, _DURATIONS, bare="s")
    if not seconds:
        raise UsageError(
            f"{option} is {text!r}, expected a number from 1, or a duration", hint="for example 10, 1k, 1s or 500ms"
        )
    return None, seconds


def parse_size_or_duration(text: str, option: str) -> tuple[int | None, float | None]:
    """Parse a size such as `100MB`, or a duration such as `10min`. A unit is required.

    Returns:
        (bytes, None) or (None, seconds).

    Raises:
        UsageError: it is neither.
    """
    size = _parse(text, _SIZES, any_case=True)
    if size is not None:
        return round(size), None
    seconds = _parse(text, _DURATIONS, any_case=True)
    if seconds is None:
        raise UsageError(
            f"{option} is {text!r}, expected a size or a duration",
            hint=f"a number with a unit ({_listed(_SIZES)}, {_listed(_DURATIONS)}); for example 100MB or 10min",
        )
    return None, seconds


def _parse(text: str, units: Mapping[str, Factor], *, bare: str | None = None, any_case: bool = False) -> float | None:
    """Like `_ratio`, as the nearest float; None also if it is too large for one."""
    ratio = _ratio(text, units, bare=bare, any_case=any_case)
    try:
        return None if ratio is None else ratio[0] / ratio[1]
    except OverflowError:
        return None


def _ratio(
    text: str, units: Mapping[str, Factor], *, bare: str | None = None, any_case: bool = False
) -> tuple[int, int] | None:
    """The quantity in the base unit as an exact quotient; None if it is none of this kind.

    Args:
        bare: the unit of a number without one; an empty string is a factor of 1, None requires a unit.
        any_case: whether `mb` is `MB`.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    unit = match[2] or bare
    if unit is None:
        return None
    if any_case:
        unit = next((name for name in units if name.lower() == unit.lower()), unit)
    factor = (1, 1) if unit == "" else units.get(unit)
    if factor is None:
        return None
    whole, _, decimals = match[1].partition(".")
    try:
        return int(whole + decimals) * factor[0], 10 ** len(decimals) * factor[1]
    except ValueError:  # more digits than Python converts
        return None


def _whole(ratio: tuple[int, int] | None) -> int | None:
    return ratio[0] // ratio[1] if ratio is not None and ratio[0] % ratio[1] == 0 else None


def _listed(units: Mapping[str, Factor]) -> str:
    return ", ".join(name for name in units if name not in ("us", "byte", "bytes"))


# --- Formatting --------------------------------------------------------------------------------------------------

_BYTE_STEPS: Final = ((1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"))
_DURATION_STEPS: Final = ((1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h"))


def format_count(count: int, noun: str) -> str:
    """`1 message`, `1,234 messages`."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def format_size(size: float) -> str:
    """A number of bytes with three digits, in decimal units as file managers use them: `999 bytes`, `1.23 MB`."""
    divisor, unit = _scale(size, ((1.0, "bytes"), *_BYTE_STEPS))
    if divisor > 1:
        return f"{three_significant(size / divisor)} {unit}"
    return "1 byte" if f"{size:.0f}" == "1" else f"{size:.0f} bytes"


def format_byte_rate(rate: float) -> str:
    """Bytes per second with three digits, in decimal units as networks use them: `1.23 MB/s`."""
    divisor, unit = byte_rate_scale(rate)
    return f"{three_significant(rate / divisor)} {unit}"


def format_duration(seconds: float) -> str:
    """Seconds with three digits, in one unit: `250 ms`, `10 s`, `1.5 min`, `2 h`. Less than 1 ms is in µs."""
    if seconds == 0:
        return "0 s"
    divisor, unit = _scale(seconds, ((1e-6, "µs"), *_DURATION_STEPS))
    return f"{three_significant(seconds / divisor)} {unit}"


def format_three_digits(value: float | None) -> str:
    """Two decimals below 10, one below 100, none above: `9.87`, `12.3`, `1,235`. A dash for None."""
    if value is None:
        return "–"
    if abs(value) < 9.995:
        return f"{value:.2f}"
    return f"{value:,.1f}" if abs(value) < 99.95 else f"{value:,.0f}"


def byte_rate_scale(top: float, digits: int = 3) -> tuple[float, str]:
    """Choose the unit in which `top` bytes per second, rounded to `digits` digits, is from 1 to below 1,000.

    Returns:
        What to divide by, and the unit.
    """
    return _scale(top, ((1.0, "B/s"), *((divisor, f"{prefix}/s") for divisor, prefix in _BYTE_STEPS)), digits)


def three_significant(value: float) -> str:
    """Three significant digits without an exponent: `0.00123`, `12.3`, `1,230`."""
    text = f"{value:.3g}"
    if "e" not in text:
        return text
    rounded = float(text)
    return f"{rounded:,.0f}" if abs(rounded) >= 1 else f"{rounded:.12f}".rstrip("0").rstrip(".")


def _scale(value: float, steps: tuple[tuple[float, str], ...], digits: int = 3) -> tuple[float, str]:
    """The largest step that the rounded value reaches, or else the smallest."""
    chosen = steps[0]
    for divisor, unit in steps[1:]:
        # Rounded in the unit before, because that is how it would be printed there.
        if float(f"{abs(value) / chosen[0]:.{digits}g}") * chosen[0] < divisor * (1 - 1e-9):
            break
        chosen = (divisor, unit)
    return chosen


# --- Units of metrics --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a metric in the results of a load test.

    Attributes:
        name: of the values in the results.
        factors: units that people may write, and how many of `name` each is.
    """

    name: str
    factors: Mapping[str, float]


def _unit(name: str, units: Mapping[str, Factor]) -> Unit:
    base = units[name][0] / units[name][1]
    return Unit(name, {written: up / down / base for written, (up, down) in units.items()})


_BY_SUFFIX: Final = (
    (re.compile(r"bytes_per_s(_per_client)?"), _unit("B/s", _BYTE_RATES)),
    (re.compile(r"[a-z_]+_per_s(_per_client)?"), _unit("/s", _RATES)),
    (re.compile(r"[a-z_]+_percent(_max)?"), Unit("%", {"%": 1.0})),
    (re.compile(r"[a-z_]+_ms"), _unit("ms", _DURATIONS)),
    (re.compile(r"[a-z_]+_s"), _unit("s", _DURATIONS)),
)


def metric_unit(path: str) -> Unit | None:
    """Return the unit of the metric at `path`, by what its last key ends in, or else the one before it.

    `latency_ms.p95` is in ms. None is for counts, such as `clients.lost` and `latency_ms.count`.
    """
    *above, key = path.lower().split(".")
    if key == "count":
        return None
    for name in (key, *above[-1:]):
        for suffix, unit in _BY_SUFFIX:
            if suffix.fullmatch(name):
                return unit
    return None


def to_metric_unit(number: float, written: str, path: str) -> float:
    """Convert `number`, in the unit `written` behind it, to the unit of the metric at `path`.

    Args:
        written: empty for a number without a unit, which is in the metric's own.

    Raises:
        UsageError: the unit does not fit the metric.
    """
    if not written:
        return number
    unit = metric_unit(path)
    if unit is None:
        raise UsageError(f"{number:g}{written}: {path} is a count and has no unit", hint=f"write {number:g}")
    if written not in unit.factors:
        raise UsageError(
            f"{number:g}{written}: {path} is in {unit.name}", hint=f"units that fit are {', '.join(unit.factors)}"
        )
    return number * unit.factors[written]
