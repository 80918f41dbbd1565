"""How much voice one client may send: messages and bytes per second."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

MESSAGES_PER_S: Final = 100
"""Twice what messages of 20 ms need."""

BYTES_PER_S: Final = 128_000
"""48 kHz audio has 96,000."""

BURST_S: Final = 1.0
"""Seconds of traffic that may come at once, because networks delay and then deliver together. A message of the largest
size that a client may send fits."""

NOTICE_EVERY_US: Final = 1_000_000
LOWEST_RATE_HZ: Final = 8_000
HIGHEST_RATE_HZ: Final = 48_000


class VoiceDecision(Enum):
    """What happens to a VoiceData message."""

    RELAY = "relay"
    DROP = "drop"
    DROP_AND_NOTIFY = "drop and notify"


@dataclass(slots=True)
class TokenBucket:
    """Fills at a steady rate up to a limit. A message that costs more than the bucket holds has to wait or be dropped.

    Args:
        per_s: tokens added each second.
        limit: tokens that it holds; it starts full.
        now_us: monotonic time in µs.
    """

    per_s: float
    limit: float
    now_us: int
    tokens: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.limit

    def fill(self, now_us: int) -> None:
        """Add the tokens of the time since the last call."""
        self.tokens = min(self.limit, self.tokens + (now_us - self.now_us) * self.per_s / 1e6)
        self.now_us = now_us


class VoiceLimit:
    """The limit of one client: a token bucket for messages and one for bytes.

    Args:
        now_us: monotonic time in µs.
    """

    __slots__ = ("_bytes", "_messages", "_notified_us")

    def __init__(self, now_us: int) -> None:
        self._messages = TokenBucket(MESSAGES_PER_S, MESSAGES_PER_S * BURST_S, now_us)
        self._bytes = TokenBucket(BYTES_PER_S, BYTES_PER_S * BURST_S, now_us)
        self._notified_us: int | None = None

    def admit(self, size: int, now_us: int) -> VoiceDecision:
        """Decide on a message of `size` bytes. A message that is dropped costs nothing."""
        self._messages.fill(now_us)
        self._bytes.fill(now_us)
        if self._messages.tokens < 1 or self._bytes.tokens < size:
            return self.drop(now_us)
        self._messages.tokens -= 1
        self._bytes.tokens -= size
        return VoiceDecision.RELAY

    def drop(self, now_us: int) -> VoiceDecision:
        """Drop a message even if the limit has room for it. The client is notified at most once a second."""
        if self._notified_us is not None and now_us - self._notified_us < NOTICE_EVERY_US:
            return VoiceDecision.DROP
        self._notified_us = now_us
        return VoiceDecision.DROP_AND_NOTIFY
