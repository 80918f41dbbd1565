"""The clock of a replay: which moment of the recording it is now, as on a tape deck."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from vfctl.errors import UsageError

MIN_SPEED: Final = 0.001
"""A second in a quarter of an hour."""
MAX_SPEED: Final = 1000.0

_MOST: Final = 10**12
"""Seconds that a recording may have, and more; also what can be reckoned with."""


class ReplayClock:
    """Time is passed in, unix time in µs; the clock begins with the first `at`.

    Args:
        position_s: where it begins, in seconds from the recording's start.
        speed: seconds of the recording that pass in one second.
        paused: whether it stands still.

    Attributes:
        position_s: as of the last `at`.
        speed, paused: as they are now; see `change`.
    """

    def __init__(self, position_s: float = 0.0, speed: float = 1.0, paused: bool = False) -> None:
        self.position_s = position_s
        self.speed = speed
        self.paused = paused
        self._now_us: int | None = None
        self._anchor_us = 0
        self._anchor_s = position_s

    def at(self, now_us: int) -> float:
        """The position at that time; a clock that goes back stands still."""
        if self._now_us is None:
            self._now_us = self._anchor_us = now_us
        self._now_us = max(self._now_us, now_us)
        if not self.paused:
            self.position_s = self._anchor_s + (self._now_us - self._anchor_us) * self.speed / 1e6
        return self.position_s

    def change(
        self, *, position_s: float | None = None, speed: float | None = None, paused: bool | None = None
    ) -> None:
        """Go on differently from the last `at` on; None leaves it as it is."""
        self.position_s = self._anchor_s = self.position_s if position_s is None else position_s
        self._anchor_us = self._now_us or 0
        self.speed = self.speed if speed is None else speed
        self.paused = self.paused if paused is None else paused

    def until_us(self, position_s: float) -> int | None:
        """How long it is from the last `at` until that position; None if it is not reached by itself."""
        if self.paused or math.isinf(position_s):
            return None
        return max(0, math.ceil(round((position_s - self.position_s) / self.speed * 1e6, 3)))


CHANGES: Final = ("position_s", "speed", "paused", "loop")


def check_changes(changes: Mapping[str, Any], duration_s: float | None = None) -> None:
    """What `PATCH /replay` may change.

    Args:
        duration_s: of the recording, if it is known.

    Raises:
        UsageError: an unknown name, or a value that cannot be.
    """
    for name, value in changes.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST
        if name not in CHANGES:
            raise UsageError(f"a replay has no {name!r}", hint=f"what can be changed is {', '.join(CHANGES)}")
        if name in ("paused", "loop") and not isinstance(value, bool):
            raise UsageError(f"{name} is {value!r}, expected true or false")
        if name == "speed" and not (number and MIN_SPEED <= value <= MAX_SPEED):
            raise UsageError(f"a replay at speed {_said(value)}, expected {MIN_SPEED:g} to {MAX_SPEED:g}")
        if name == "position_s" and not (number and value >= 0):
            raise UsageError(f"a replay from {_said(value)} s, expected 0 to {_MOST:g}")
        if name == "position_s" and duration_s is not None and value > duration_s:
            raise UsageError(f"a replay from {value:g} s, but the recording ends after {duration_s:g} s")


def _said(value: object) -> object:
    """The value, unless Python itself cannot or should not print it."""
    return "10^n" if isinstance(value, int) and abs(value) > _MOST else value
