"""The grid of a COMPACT chain: positions as whole numbers of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.protocol.messages import Nodes

Integers = npt.NDArray[np.int32]
"""int32 [3, nodes], rows x, y and z: positions in steps of a grid, or differences of them."""

Positions = npt.NDArray[np.float32]
"""float32 [3, nodes], rows x, y and z, in units."""

NOWHERE: Final = -(2**24)
"""The integer of a coordinate that is not finite; read back as NaN."""

MAX_INTEGER: Final = 2**24 - 1
"""float32 holds all integers up to here, so one multiplication, rounded once, is all that decoding takes."""

STEPS_PER_EXTENT: Final = 4096
"""The step is at most so small a part of the layout's extent."""

_MARGIN: Final = 15 / 16
"""A new grid is so much finer than it must be, so that a layout that shrinks a little needs no other."""

_MAX_GROWTH: Final = 1.25
"""A layout may grow so far beyond that: then a coarser grid saves a third of a bit an axis, and has paid for the key
frames that it costs after a few seconds."""

_STRAGGLER: Final = 8.0
"""Who is further from the mean than so many mean absolute deviations does not count for the extent: one node dragged
far away must not make the others' grid coarse. In a ball nobody is further than 2.7, in real layouts 3 to 5."""

_PASSES: Final = 8

_STEP_BITS: Final = 8
"""Significant bits of a step: with them, whatever lies within 65,536 steps of 0 is a float32 exactly."""

_FINEST_STEP: Final = 2.0**-126
_COARSEST_STEP: Final = 2.0**104


@dataclass(frozen=True, slots=True)
class Grid:
    """Positions that are whole multiples of `step`, in units. It has no origin: its box reaches 2^24 steps each way.

    Attributes:
        step: a positive float32 from 2^-126 up to 2^104, so that no position overflows and none is subnormal.
    """

    step: float

    @classmethod
    def covering(cls, positions: Positions) -> Grid:
        """A grid that is fine enough for a layout: at least 4096 steps to its largest extent."""
        finite = np.isfinite(positions)
        reach = float(np.abs(positions).max(where=finite, initial=0.0))
        kept = positions[:, finite.all(axis=0)].astype(np.float64)
        # Finer than float32 itself resolves at the layout's outermost node would be for nothing, and leave the box.
        resolution = math.ldexp(1.0, math.frexp(reach)[1] - 24) if reach else 2.0**-12
        step = max(_rounded_down(_extent(kept) * _MARGIN / STEPS_PER_EXTENT), resolution)
        return cls(min(max(step, _FINEST_STEP), _COARSEST_STEP))

    def quantise(self, positions: Positions) -> Integers:
        """The nearest grid points, ties to even; NOWHERE for what is not finite. Off by step/2 at most.

        Raises:
            ValueError: a position is outside of the grid's box.
        """
        scaled = np.rint(positions / np.float64(self.step))
        lowest, highest = scaled.min(initial=0.0), scaled.max(initial=0.0)
        if not (lowest > NOWHERE and highest <= MAX_INTEGER):  # also if one of them is NaN
            scaled = np.where(np.isfinite(positions), scaled, NOWHERE)
            outside = (scaled < NOWHERE) | (scaled > MAX_INTEGER) | ((scaled == NOWHERE) & np.isfinite(positions))
            if outside.any():
                raise ValueError(f"a position is outside of the grid: more than {MAX_INTEGER} steps of {self.step:g}")
        return scaled.astype(np.int32)

    def dequantise(self, integers: Integers) -> Positions:
        """float32(step × integer), rounded once; NaN for NOWHERE."""
        if integers.min(initial=0) > NOWHERE:
            return integers.astype(np.float32) * np.float32(self.step)
        somewhere = np.where(integers == NOWHERE, np.nan, integers)
        return somewhere.astype(np.float32) * np.float32(self.step)

    def suits(self, integers: Integers) -> bool:
        """Whether a layout on this grid still has enough steps to its extent, and not far too many."""
        if integers.min(initial=0) == NOWHERE:
            integers = integers[:, (integers != NOWHERE).all(axis=0)]
        return STEPS_PER_EXTENT <= _extent(integers) <= STEPS_PER_EXTENT * _MAX_GROWTH / _MARGIN


def positions_of(nodes: Nodes) -> Positions:
    """x, y and z of NODE_DTYPE [nodes] as contiguous rows, float32 [3, nodes]."""
    return np.ascontiguousarray(nodes.view("<f4").reshape(-1, 7)[:, 1:4].T)


def _extent(coordinates: npt.NDArray[np.float64] | Integers) -> float:
    """The largest extent of finite [3, nodes] without its stragglers."""
    if not coordinates.size:
        return 0.0
    count = coordinates.shape[1]
    total = coordinates.sum(axis=1, dtype=coordinates.dtype if coordinates.dtype.kind == "f" else np.int64)
    stragglers = np.zeros(0, np.intp)
    for _ in range(_PASSES):  # one straggler far enough hides another
        # Leaving columns out of the sums takes a quarter of the time that copying all others does.
        kept = count - len(stragglers)
        centre = ((total - coordinates[:, stragglers].sum(axis=1)) / kept).astype(coordinates.dtype)[:, None]
        away = np.abs(coordinates - centre)
        away[:, stragglers] = 0
        limit = _STRAGGLER * float(away.sum(axis=1).max()) / kept
        beyond = np.flatnonzero(away.ravel() > limit)
        if not len(beyond):
            break
        stragglers = np.union1d(stragglers, beyond % count)
    if len(stragglers):
        coordinates = coordinates.copy()
        coordinates[:, stragglers] = centre
    return float(np.max(coordinates.max(axis=1) - coordinates.min(axis=1)))


def _rounded_down(value: float) -> float:
    """`value` with _STEP_BITS significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.floor(math.ldexp(mantissa, _STEP_BITS)), exponent - _STEP_BITS)
