"""When a recording goes over to its next file, and what the files are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vfctl.errors import UsageError

_BYTES: Final = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400}

LEAST_BYTES: Final = 100_000
LEAST_SECONDS: Final = 1.0
"""Less would be a file for every few messages."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A file ends when it is so large, or so old, whichever comes first; None never."""

    max_bytes: int | None = None
    max_s: float | None = None


def parse_size(text: str, option: str) -> int:
    """A size such as `100MB` or `2GiB`, in bytes.

    Args:
        option: what it was given for, for the error.

    Raises:
        UsageError: it is none.
    """
    amount = _parse(text, _BYTES)
    if amount is None or amount < 1:
        hint = f"such as 100MB; the units are {_names(_BYTES)}"
        raise UsageError(f"{option} is {text!r}, expected a size", hint=hint)
    return round(amount)


def parse_rotation(text: str) -> Rotation:
    """`100MB` or `10min`, or both with a comma between them.

    Raises:
        UsageError: it is neither, or less than makes sense.
    """
    max_bytes: int | None = None
    max_s: float | None = None
    for part in text.split(","):
        if (size := _parse(part, _BYTES)) is not None:
            max_bytes = round(size)
        elif (seconds := _parse(part, _SECONDS)) is not None:
            max_s = seconds
        else:
            hint = f"such as 100MB or 10min; the units are {_names(_BYTES)}, {_names(_SECONDS)}"
            raise UsageError(f"--rotate is {text!r}, expected a size or a time", hint=hint)
    if max_bytes is not None and max_bytes < LEAST_BYTES:
        raise UsageError(f"--rotate is {text!r}, expected at least {LEAST_BYTES // 1000}kB")
    if max_s is not None and max_s < LEAST_SECONDS:
        raise UsageError(f"--rotate is {text!r}, expected at least {LEAST_SECONDS:g}s")
    return Rotation(max_bytes, max_s)


def numbered(path: Path, number: int) -> Path:
    """The file of a series with that number, from 1: `capture.mcap` gives `capture-0001.mcap`."""
    return path.with_name(f"{path.stem}-{number:04}{path.suffix}")


def numbers_taken(path: Path) -> list[int]:
    """Which numbers of a series there are files of, sorted."""
    pattern = re.compile(re.escape(path.stem) + r"-(\d{4,})" + re.escape(path.suffix))
    try:
        found = (pattern.fullmatch(entry.name) for entry in path.parent.iterdir())
        return sorted(int(match[1]) for match in found if match)
    except OSError:
        return []


def _parse(text: str, units: dict[str, int]) -> float | None:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if match is None:
        return None
    factor = next((factor for name, factor in units.items() if name.lower() == match[2].lower()), None)
    return None if factor is None else float(match[1]) * factor


def _names(units: dict[str, int]) -> str:
    return ", ".join(units)
