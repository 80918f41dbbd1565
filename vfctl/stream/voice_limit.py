"""How much one client may say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

MESSAGES_PER_S: Final = 100
"""Twice what 20 ms a message need."""

BYTES_PER_S: Final = 128_000
"""48 kHz are 96,000."""

BURST_S: Final = 1.0
"""What a network has held up comes at once; one message of the greatest size a client may send is within it."""

NOTICE_EVERY_US: Final = 1_000_000
LOWEST_RATE_HZ: Final = 8_000
HIGHEST_RATE_HZ: Final = 48_000


class Verdict(Enum):
    """What becomes of a VoiceData message."""

    RELAY = "relay"
    DROP = "drop"
    DROP_AND_SAY = "drop and say"


@dataclass(slots=True)
class TokenBucket:
    """Fills at a steady rate up to a limit; what costs more than is in it has to wait or go.

    Args:
        per_s: tokens that come in each second.
        limit: tokens that it holds; it begins full.
        now_us: monotonic time.
    """

    per_s: float
    limit: float
    now_us: int
    tokens: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.limit

    def fill(self, now_us: int) -> None:
        """Let in what has come since the last call."""
        self.tokens = min(self.limit, self.tokens + (now_us - self.now_us) * self.per_s / 1e6)
        self.now_us = now_us


class VoiceLimit:
    """Of one client: messages and bytes a second, each by a token bucket.

    Args:
        now_us: monotonic time, as for `take`.
    """

    __slots__ = ("_bytes", "_messages", "_said_us")

    def __init__(self, now_us: int) -> None:
        self._messages = TokenBucket(MESSAGES_PER_S, MESSAGES_PER_S * BURST_S, now_us)
        self._bytes = TokenBucket(BYTES_PER_S, BYTES_PER_S * BURST_S, now_us)
        self._said_us: int | None = None

    def take(self, size: int, now_us: int) -> Verdict:
        """Whether a message of `size` bytes may go on. What is dropped costs nothing."""
        self._messages.fill(now_us)
        self._bytes.fill(now_us)
        if self._messages.tokens < 1 or self._bytes.tokens < size:
            return self.refuse(now_us)
        self._messages.tokens -= 1
        self._bytes.tokens -= size
        return Verdict.RELAY

    def refuse(self, now_us: int) -> Verdict:
        """Drop a message, whatever there is room for; say so at most once a second."""
        if self._said_us is not None and now_us - self._said_us < NOTICE_EVERY_US:
            return Verdict.DROP
        self._said_us = now_us
        return Verdict.DROP_AND_SAY
