"""Latencies by time. What comes within the same second is alike, so comparisons resample whole blocks, not samples."""

from __future__ import annotations

from typing import Final

from vfctl.metrics import LatencyHistogram

MAX_BLOCKS: Final = 64
"""Of a stage. When there are more, two become one: memory and results do not grow with the length of a run."""


class LatencyBlocks:
    """Histograms of equal stretches of time, the first from the beginning of a stage.

    Attributes:
        width_s: length of each: 1 s, or a power of two more.
        histograms: of each stretch, in order; some may be empty.
    """

    def __init__(self) -> None:
        self.width_s = 1
        self.histograms: list[LatencyHistogram] = []

    def add(self, elapsed_s: float, latencies: LatencyHistogram) -> None:
        """Latencies that were collected up to `elapsed_s` after the beginning, in less than half a second or so."""
        number = max(0, int((elapsed_s - 0.25) / self.width_s))
        while number >= MAX_BLOCKS:
            self._fold()
            number //= 2
        self._at(number).merge(latencies)

    def merge(self, other: LatencyBlocks) -> None:
        """Add what another process has seen of the same stage."""
        while self.width_s < other.width_s:
            self._fold()
        for number, latencies in enumerate(other.histograms):
            self._at(number * other.width_s // self.width_s).merge(latencies)

    def _at(self, number: int) -> LatencyHistogram:
        while len(self.histograms) <= number:
            self.histograms.append(LatencyHistogram())
        return self.histograms[number]

    def _fold(self) -> None:
        """Two become one."""
        folded = self.histograms[::2]
        for even, odd in zip(folded, self.histograms[1::2], strict=False):
            even.merge(odd)
        self.histograms = folded
        self.width_s *= 2
