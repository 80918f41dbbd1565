"""The two clocks of a server: one for its schedule, one for what it tells others."""

from __future__ import annotations

import time


def monotonic_us() -> int:
    """The clock of the schedule, in µs; never goes back."""
    return time.monotonic_ns() // 1000


def unix_time_us() -> int:
    """The clock of the messages: unix time in µs."""
    return time.time_ns() // 1000
