"""Times and periods as people write them: 90, 10s, 1.5min, 250ms."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Final

_SECONDS: Final = {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60), "h": Fraction(3600)}


def parse_duration_s(text: str, option: str) -> float:
    """Seconds; a bare number is taken for them.

    Args:
        option: what it was given for, for the error.

    Raises:
        UsageError: it is none, or negative.
    """
    from vfctl.errors import UsageError

    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", text)
    factor = _SECONDS.get(match[2] or "s") if match else None
    seconds = _float(match[1], factor) if match and factor else math.nan
    if match is None or factor is None or not math.isfinite(seconds):
        hint = f"seconds, or with a unit: {', '.join(_SECONDS)}; for example 90, 1.5min"
        raise UsageError(f"{option} is {text!r}, expected a time", hint=hint)
    return seconds


def _float(number: str, factor: Fraction) -> float:
    """The nearest to what is written: 9 times a thousandth as a float is more than 0.009."""
    try:
        return float(Fraction(number.removesuffix(".")) * factor)
    except OverflowError:
        return math.inf


def parse_every(text: str) -> tuple[int | None, float | None]:
    """`--every`: (each so many-th, None) of a bare whole number, else (None, seconds).

    Raises:
        UsageError: neither, or nothing.
    """
    from vfctl.errors import UsageError

    count = int(text) if re.fullmatch(r"\d{1,18}", text.strip()) else None
    seconds = parse_duration_s(text, "--every") if count is None else None
    if not (count or seconds):
        raise UsageError(f"--every is {text!r}, expected a number of frames from 1 or a time such as 1s")
    return count, seconds
