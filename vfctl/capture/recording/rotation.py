"""When a recording goes over to its next file, and what the files are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vfctl.errors import UsageError
from vfctl.quantities import parse_size_or_duration

LEAST_BYTES: Final = 100_000
LEAST_SECONDS: Final = 1.0
"""Less would be a file for every few messages."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A file ends when it is so large, or so old, whichever comes first; None never."""

    max_bytes: int | None = None
    max_s: float | None = None


def parse_rotation(text: str) -> Rotation:
    """`100MB` or `10min`, or both with a comma between them.

    Raises:
        UsageError: it is neither, or less than makes sense.
    """
    max_bytes: int | None = None
    max_s: float | None = None
    for part in text.split(","):
        size, seconds = parse_size_or_duration(part, "--rotate")
        max_bytes = max_bytes if size is None else size
        max_s = max_s if seconds is None else seconds
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
