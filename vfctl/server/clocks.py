"""The two clocks of a server: one for its schedule, one for what it tells others."""

from __future__ import annotations

import contextlib
import os
import time
import weakref


def monotonic_us() -> int:
    """The clock of the schedule, in µs; never goes back."""
    return time.monotonic_ns() // 1000


def unix_time_us() -> int:
    """The clock of the messages: unix time in µs."""
    return time.time_ns() // 1000


class AwakeClock:
    """How long this process's main thread has run or waited for a core so far, in µs; None where the system does not
    tell (it is Linux's: Documentation/scheduler/sched-stats.rst)."""

    def __init__(self) -> None:
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            self._fd = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._fd)

    def __call__(self) -> int | None:
        if self._fd is None:
            return None
        running_ns, waiting_ns, _ = os.pread(self._fd, 128, 0).split()
        return (int(running_ns) + int(waiting_ns)) // 1000
