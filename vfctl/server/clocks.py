"""The two clocks of a server: one for its schedule, one for what it tells others."""

from __future__ import annotations

import time
from pathlib import Path


def monotonic_us() -> int:
    """The clock of the schedule, in µs; never goes back."""
    return time.monotonic_ns() // 1000


def unix_time_us() -> int:
    """The clock of the messages: unix time in µs."""
    return time.time_ns() // 1000


def awake_us() -> int | None:
    """How long this process's main thread has run or waited for a core so far, in µs; None where the system does not
    tell (it is Linux's: Documentation/scheduler/sched-stats.rst)."""
    try:
        running_ns, waiting_ns, _ = Path("/proc/self/schedstat").read_text("ascii").split()
        return (int(running_ns) + int(waiting_ns)) // 1000
    except (OSError, ValueError):
        return None
