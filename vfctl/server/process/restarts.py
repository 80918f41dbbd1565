"""When a dead or hung gateway is restarted, and when that is useless. Time is passed in."""

from __future__ import annotations

from collections import deque
from typing import Final

RESTART_DELAYS_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Delay before each restart. The first one is immediate, because its clients reconnect half a second later. Later ones
are longer, so that a gateway which dies as it starts leaves the cores to the others."""

RESTART_WINDOW_S: Final = 60.0
"""Older deaths are forgotten. All delays and six starts fit several times, so a gateway that cannot run is given up.
One that meets a rare bug every few minutes goes on."""

HANG_TIMEOUT_S: Final = 30.0
"""A gateway publishes its metrics four times a second. One that has not done so for this long serves nobody. Under
every load that it has held, a tick took no longer than some seconds."""

MIN_HANG_POLLS: Final = 20
"""Polls without progress before a gateway counts as hung. A machine that was suspended, or a parent that was stopped,
is no reason to kill all gateways."""


class HangDetector:
    """Detects that a gateway hangs."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._since_s = 0.0
        self._polls = 0

    def poll(self, published: int, now_s: float) -> bool:
        """Whether the gateway hangs.

        Args:
            published: any number that changes whenever the gateway publishes its metrics; 0 before the first time.
            now_s: monotonic time.
        """
        if published != self._last or not published:
            self._last, self._since_s, self._polls = published, now_s, 0
            return False
        self._polls += 1
        return self._polls >= MIN_HANG_POLLS and now_s - self._since_s >= HANG_TIMEOUT_S


class RestartPolicy:
    """Decides about the restarts of one gateway."""

    def __init__(self) -> None:
        self._deaths_s: deque[float] = deque()

    def on_death(self, now_s: float) -> float | None:
        """The gateway has died.

        Args:
            now_s: monotonic time.

        Returns:
            Delay before its restart in seconds, or None if it has died too often.
        """
        while self._deaths_s and now_s - self._deaths_s[0] >= RESTART_WINDOW_S:
            self._deaths_s.popleft()
        self._deaths_s.append(now_s)
        deaths = len(self._deaths_s)
        return RESTART_DELAYS_S[deaths - 1] if deaths <= len(RESTART_DELAYS_S) else None

    @property
    def deaths(self) -> int:
        """Number of deaths within the window."""
        return len(self._deaths_s)
