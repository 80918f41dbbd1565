"""What a server does with a client that reads too slowly: it skips updates, or disconnects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class SlowClientPolicy(StrEnum):
    """What happens when the next frame is due and earlier bytes still wait for the client."""

    SKIP = "skip"
    """The client misses this update. It gets the newest state in the next interval in which nothing waits."""
    DISCONNECT = "disconnect"
    """The server closes the connection with 1008: for services where old data is worse than none."""


class Delivery(Enum):
    """What to do with the next frame for one client."""

    WRITE = auto()
    SKIP = auto()
    """Earlier bytes still wait. The next interval brings a newer state (latest wins)."""
    GIVE_UP = auto()
    """Close the connection: it made no progress for the stall timeout, or the policy is `disconnect`. It is never left
    open and silent."""


@dataclass(slots=True)
class Backlog:
    """The progress of one client.

    Attributes:
        waiting_bytes: bytes that the kernel had not taken at the last check.
        progress_us: when that number last fell, in µs.
    """

    waiting_bytes: int = 0
    progress_us: int = 0

    def decide(
        self, waiting_bytes: int, now_us: int, stall_timeout_us: int, policy: SlowClientPolicy = SlowClientPolicy.SKIP
    ) -> Delivery:
        """Decide whether the next frame is written.

        Args:
            waiting_bytes: bytes that wait in the process for this client now. What waits in the kernel is bounded by
                socket options.
            now_us: any clock that does not go back, in µs.
            stall_timeout_us: how long a client may make no progress, in µs.
            policy: what happens to a client for which bytes wait.
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
