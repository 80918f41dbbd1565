"""The time that the asynchronous client lives by: a seam, so that tests need not wait."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where a connection takes the time from."""

    def monotonic_s(self) -> float:
        """Seconds that only ever grow, for intervals."""

    def unix_ns(self) -> int:
        """Unix time in ns, for time stamps."""

    async def sleep(self, delay_s: float) -> None:
        """Come back after so many seconds."""


class SystemClock:
    """The machine's own."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def unix_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
