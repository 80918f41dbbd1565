"""What is kept apart for each server of a run: there is one, or two that are compared."""

from __future__ import annotations

import time

from vfctl.loadtest.control.time_series import TimeSeries
from vfctl.loadtest.generator.clock_offset import ClockSample, correction_us
from vfctl.loadtest.generator.shard_process import Progress, Report


class Side:
    """One server: what its shards report, and its clock.

    Args:
        numbers: of its shards.
        local: it is on this machine.

    Attributes:
        series: the run second by second.
        reports: the last of each shard, by its number.
        offset_us: what latencies are corrected by.
    """

    def __init__(self, numbers: frozenset[int], local: bool) -> None:
        self.numbers = numbers
        self._local = local
        self._clocks: dict[int, ClockSample] = {}
        self.reports: dict[int, Report] = {}
        self.offset_us = 0
        self.restart()

    def restart(self) -> None:
        """The run begins now."""
        self.series = TimeSeries(time.monotonic(), len(self.numbers))

    def take(self, progress: Progress) -> None:
        """A shard's report of progress."""
        self.series.take(progress)
        if progress.clock is not None:
            self._clocks[progress.shard] = progress.clock

    @property
    def clock(self) -> ClockSample | None:
        """The best that is known of the server's clock."""
        return min(self._clocks.values(), default=None)

    def corrected(self) -> bool:
        """Look at the clock; whether latencies have to be corrected by something else from now on."""
        best = self.clock
        if best is None:
            return False
        before, self.offset_us = self.offset_us, correction_us(best, self._local)
        return self.offset_us != before
