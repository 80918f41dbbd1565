"""The units that figures of the results have, by the suffix of their path, and those that people may write instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vfctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Unit:
    """What a kind of figure is counted in.

    Attributes:
        name: of the figures in the results.
        factors: what may be written, and how many of `name` each is.
    """

    name: str
    factors: dict[str, float]


_MILLISECONDS: Final = Unit("ms", {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4})
_SECONDS: Final = Unit("s", {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0})
_PERCENT: Final = Unit("%", {"%": 1.0})
_PER_SECOND: Final = Unit("/s", {"/s": 1.0, "Hz": 1.0})
_BYTES_PER_SECOND: Final = Unit(
    "B/s",
    {
        "B/s": 1.0,
        "kB/s": 1e3,
        "MB/s": 1e6,
        "GB/s": 1e9,
        "KiB/s": 2.0**10,
        "MiB/s": 2.0**20,
        "GiB/s": 2.0**30,
        "bit/s": 0.125,
        "kbit/s": 125.0,
        "Mbit/s": 125e3,
        "Gbit/s": 125e6,
    },
)
_BY_SUFFIX: Final = (
    (re.compile(r"bytes_per_s(_per_client)?"), _BYTES_PER_SECOND),
    (re.compile(r"[a-z_]+_per_s(_per_client)?"), _PER_SECOND),
    (re.compile(r"[a-z_]+_percent(_max)?"), _PERCENT),
    (re.compile(r"[a-z_]+_ms"), _MILLISECONDS),
    (re.compile(r"[a-z_]+_s"), _SECONDS),
)


def unit_of(path: str) -> Unit | None:
    """The unit of the figure at `path`: what its last key ends in, or else the one before (`latency_ms.p95`).

    None for what is counted, such as `clients.lost` or `latency_ms.count`.
    """
    *above, key = path.lower().split(".")
    if key == "count":
        return None
    for name in (key, *above[-1:]):
        for suffix, unit in _BY_SUFFIX:
            if suffix.fullmatch(name):
                return unit
    return None


def converted(number: float, written: str, path: str) -> float:
    """`number`, with the unit that was written behind it, in the unit of the figure at `path`; none is its own.

    Raises:
        UsageError: the figure is of another kind; says which units fit.
    """
    if not written:
        return number
    unit = unit_of(path)
    if unit is None:
        raise UsageError(f"{number:g}{written}: {path} is counted and has no unit", hint=f"write {number:g}")
    if written not in unit.factors:
        raise UsageError(
            f"{number:g}{written}: {path} is in {unit.name}",
            hint=f"units that fit it are {', '.join(unit.factors)}",
        )
    return number * unit.factors[written]


def seconds(text: str) -> float:
    """A time such as `10s`, `500 ms`, `2min` or `10`, in seconds.

    Raises:
        UsageError: it is no such time.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zµ]*)\s*", text)
    if match is None or (match[2] or "s") not in _SECONDS.factors:
        raise UsageError(f"{text.strip()!r} is no time", hint="for example 10s, 500ms or 2min")
    return float(match[1]) * _SECONDS.factors[match[2] or "s"]
