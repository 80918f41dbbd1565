"""When a slow client skips, and when it has stalled for good."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Delivery(Enum):
    """What to do with a frame for one client."""

    WRITE = auto()
    SKIP = auto()
    """Earlier bytes still wait; the next round brings newer ones (latest wins)."""
    STALLED = auto()
    """Nothing has moved for the stall time-out: close it, do not leave it open and silent."""


@dataclass(slots=True)
class Backlog:
    """What is known of one client's progress.

    Attributes:
        waiting_bytes: bytes not yet taken by the kernel when last looked at.
        progress_us: when that last became less, in µs.
    """

    waiting_bytes: int = 0
    progress_us: int = 0

    def decide(self, waiting_bytes: int, now_us: int, stall_timeout_us: int) -> Delivery:
        """Whether the next frame is written.

        Args:
            waiting_bytes: bytes that wait in the process for this client now; the kernel's part is bounded by the
                socket's own options.
        """
        if not waiting_bytes:
            self.waiting_bytes = 0
            return Delivery.WRITE
        if not self.waiting_bytes or waiting_bytes < self.waiting_bytes:
            self.progress_us = now_us
        self.waiting_bytes = waiting_bytes
        return Delivery.STALLED if now_us - self.progress_us >= stall_timeout_us else Delivery.SKIP
