"""When a slow client skips, and when it has stalled for good."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class SlowClientPolicy(StrEnum):
    """What becomes of a client that has not taken its last frames when the next is due."""

    SKIP = "skip"
    """It misses this round and gets the newest state in one that it can take."""
    DISCONNECT = "disconnect"
    """It is closed with 1008: for services where old data is worse than none."""


class Delivery(Enum):
    """What to do with a frame for one client."""

    WRITE = auto()
    SKIP = auto()
    """Earlier bytes still wait; the next round brings newer ones (latest wins)."""
    GIVE_UP = auto()
    """Nothing has moved for the stall time-out, or it may not skip: close it, never leave it open and silent."""


@dataclass(slots=True)
class Backlog:
    """What is known of one client's progress.

    Attributes:
        waiting_bytes: bytes not yet taken by the kernel when last looked at.
        progress_us: when that last became less, in µs.
    """

    waiting_bytes: int = 0
    progress_us: int = 0

    def decide(
        self, waiting_bytes: int, now_us: int, stall_timeout_us: int, policy: SlowClientPolicy = SlowClientPolicy.SKIP
    ) -> Delivery:
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
        if policy is SlowClientPolicy.DISCONNECT or now_us - self.progress_us >= stall_timeout_us:
            return Delivery.GIVE_UP
        return Delivery.SKIP
