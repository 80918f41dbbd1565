"""The clock of a replay: position, speed and pause, and checks of what may be changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from vfctl.errors import UsageError

MIN_SPEED: Final = 0.001
"""One second of the recording takes a quarter of an hour."""
MAX_SPEED: Final = 1000.0

_MOST: Final = 10**12
"""Greatest position in seconds: longer than any recording, and exact in calculations."""


class ReplayClock:
    """The position in a recording at a unix time in µs, which is passed in. It starts with the first call of `at`.

    Args:
        position_s: initial position in seconds from the start of the recording.
        speed: seconds of the recording per second.
        paused: whether it is paused.

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
        """The position at a time. It does not change if the time goes back."""
        if self._now_us is None:
            self._now_us = self._anchor_us = now_us
        self._now_us = max(self._now_us, now_us)
        if not self.paused:
            self.position_s = self._anchor_s + (self._now_us - self._anchor_us) * self.speed / 1e6
        return self.position_s

    def change(
        self, *, position_s: float | None = None, speed: float | None = None, paused: bool | None = None
    ) -> None:
        """Change the clock as of the last `at`. None leaves a value unchanged."""
        self.position_s = self._anchor_s = self.position_s if position_s is None else position_s
        self._anchor_us = self._now_us or 0
        self.speed = self.speed if speed is None else speed
        self.paused = self.paused if paused is None else paused

    def until_us(self, position_s: float) -> int | None:
        """Time in µs from the last `at` to a position; None if the clock will not reach it."""
        if self.paused or math.isinf(position_s):
            return None
        return max(0, math.ceil(round((position_s - self.position_s) / self.speed * 1e6, 3)))


CHANGES: Final = ("position_s", "speed", "paused", "loop")


def check_changes(changes: Mapping[str, Any], duration_s: float | None = None) -> None:
    """Check the changes of `PATCH /replay`.

    Args:
        duration_s: length of the recording, if known.

    Raises:
        UsageError: an unknown name, or a value out of range.
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
    """The value for a message, unless it is too long to print."""
    return "10^n" if isinstance(value, int) and abs(value) > _MOST else value
