"""What a server process needs from the kernel and from Python: clocks, and when garbage is collected."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
import weakref
from collections.abc import Callable
from typing import Final

COLLECT_EVERY: Final = 5_000
"""Ended connections between two full collections. aiohttp leaves reference cycles for each, 50 KB at most."""

GC_POLL_S: Final = 1.0

GC_THRESHOLDS: Final = (10_000, 50, 1_000_000)
"""Young objects are collected less often than by default, old ones practically never."""


def monotonic_us() -> int:
    """Monotonic time in µs, for schedules."""
    return time.monotonic_ns() // 1000


def unix_time_us() -> int:
    """Unix time in µs, for messages."""
    return time.time_ns() // 1000


class AwakeClock:
    """Time in µs that the main thread has run or waited for a core.

    A call returns None where the system does not tell (only Linux does: Documentation/scheduler/sched-stats.rst).
    """

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


async def collect_garbage_forever(ended_connections: Callable[[], int]) -> None:
    """Run full garbage collections by the number of ended connections, not by Python's allocation counts.

    A full collection visits every object. In a gateway with 17,000 connections it takes 100 ms, in which no client is
    served, and Python would start one every few seconds although nothing has ended.

    Args:
        ended_connections: returns how many connections have ended so far.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    collected_at = 0
    while True:
        await asyncio.sleep(GC_POLL_S)
        ended = ended_connections()
        if ended - collected_at >= COLLECT_EVERY:
            collected_at = ended
            gc.collect()
