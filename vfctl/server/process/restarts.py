"""When a gateway that has died or hangs is started again, and when that is of no use. Time is passed in."""

from __future__ import annotations

from collections import deque
from typing import Final

RESTART_DELAYS_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
"""What is waited before each restart. At once after the first death: its clients come back half a second later. Then
longer, so that a gateway which dies as it starts leaves the cores to those that live."""

RESTART_WINDOW_S: Final = 60.0
"""Deaths longer ago are forgotten. All the delays above and six starts fit in it several times over, so that a gateway
which cannot live is given up; one that meets a rare bug every few minutes goes on."""


HANGS_AFTER_S: Final = 30.0
"""A gateway that has not brought its figures up to date for so long (it does so four times a second) serves nobody any
more. Under whatever load it has held, a tick took no longer than some seconds."""

HANGS_AFTER_LOOKS: Final = 20
"""And it has been looked at so often meanwhile: a machine that has slept, or a parent that was stopped itself, is no
reason to end all gateways."""


class Pulse:
    """Whether one gateway still does anything."""

    def __init__(self) -> None:
        self._seen: int | None = None
        self._since_s = 0.0
        self._looks = 0

    def lost(self, posted: int, now_s: float) -> bool:
        """Look at it: whether it hangs.

        Args:
            posted: anything that changes whenever the gateway brings its figures up to date; 0 before it first has.
            now_s: any clock that does not go back.
        """
        if posted != self._seen or not posted:
            self._seen, self._since_s, self._looks = posted, now_s, 0
            return False
        self._looks += 1
        return self._looks >= HANGS_AFTER_LOOKS and now_s - self._since_s >= HANGS_AFTER_S


class RestartPolicy:
    """The deaths of one gateway."""

    def __init__(self) -> None:
        self._deaths_s: deque[float] = deque()

    def died(self, now_s: float) -> float | None:
        """The gateway has died.

        Args:
            now_s: any clock that does not go back.

        Returns:
            how long to wait before it is started again, in seconds; None: it has died too often.
        """
        while self._deaths_s and now_s - self._deaths_s[0] >= RESTART_WINDOW_S:
            self._deaths_s.popleft()
        self._deaths_s.append(now_s)
        deaths = len(self._deaths_s)
        return RESTART_DELAYS_S[deaths - 1] if deaths <= len(RESTART_DELAYS_S) else None

    @property
    def deaths(self) -> int:
        """How often it has died within the window."""
        return len(self._deaths_s)
