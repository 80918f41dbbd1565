"""The grid of a COMPACT chain: positions as integers, in steps."""

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
"""float32 represents all integers up to this, so decoding is one multiplication that is rounded once."""

STEPS_PER_EXTENT: Final = 4096
"""A layout has at least this many steps in its largest extent."""

_MARGIN: Final = 15 / 16
"""Factor by which a new grid is finer than necessary, so that a layout may shrink a little on it."""

_MAX_GROWTH: Final = 1.25
"""Factor by which a layout may grow. Then a coarser grid saves a third of a bit per axis, and within seconds more than
its key frames cost."""

_STRAGGLER: Final = 8.0
"""Nodes that are further from the mean than this many mean absolute deviations do not count for the extent, because one
node that was dragged far away must not make the grid of all others coarse. In a ball no node is further than 2.7, in
layouts than 3 to 5."""

_PASSES: Final = 8

_STEP_BITS: Final = 8
"""Significant bits of a step. All positions within 65,536 steps of 0 are then exact in float32."""

_FINEST_STEP: Final = 2.0**-126
_COARSEST_STEP: Final = 2.0**104


@dataclass(frozen=True, slots=True)
class Grid:
    """Positions that are whole multiples of `step`, in units. It has no origin: its box reaches 2^24 steps in each
    direction.

    Attributes:
        step: a positive float32 from 2^-126 up to 2^104, so that no position overflows and none is subnormal.
    """

    step: float

    @classmethod
    def covering(cls, positions: Positions) -> Grid:
        """Make a grid that is fine enough for a layout: at least 4096 steps in its largest extent."""
        finite = np.isfinite(positions)
        reach = float(np.abs(positions).max(where=finite, initial=0.0))
        kept = positions[:, finite.all(axis=0)].astype(np.float64)
        # A grid finer than float32 resolves at the outermost node would be useless, and leave the box.
        resolution = math.ldexp(1.0, math.frexp(reach)[1] - 24) if reach else 2.0**-12
        step = max(_rounded_down(_extent(kept) * _MARGIN / STEPS_PER_EXTENT), resolution)
        return cls(min(max(step, _FINEST_STEP), _COARSEST_STEP))

    def quantise(self, positions: Positions) -> Integers:
        """Return the nearest grid points, ties to even; NOWHERE for a position that is not finite. The error is at most
        step/2.

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
        """Return float32(step × integer), rounded once; NaN for NOWHERE."""
        if integers.min(initial=0) > NOWHERE:
            return integers.astype(np.float32) * np.float32(self.step)
        somewhere = np.where(integers == NOWHERE, np.nan, integers)
        return somewhere.astype(np.float32) * np.float32(self.step)

    def suits(self, integers: Integers) -> bool:
        """Whether a layout still has enough steps on this grid, and not far too many."""
        if integers.min(initial=0) == NOWHERE:
            integers = integers[:, (integers != NOWHERE).all(axis=0)]
        return STEPS_PER_EXTENT <= _extent(integers) <= STEPS_PER_EXTENT * _MAX_GROWTH / _MARGIN


def positions_of(nodes: Nodes) -> Positions:
    """x, y and z of NODE_DTYPE [nodes] as contiguous rows, float32 [3, nodes]."""
    return np.ascontiguousarray(nodes.view("<f4").reshape(-1, 7)[:, 1:4].T)


def _extent(coordinates: npt.NDArray[np.float64] | Integers) -> float:
    """The largest extent of finite [3, nodes] without outliers."""
    if not coordinates.size:
        return 0.0
    count = coordinates.shape[1]
    total = coordinates.sum(axis=1, dtype=coordinates.dtype if coordinates.dtype.kind == "f" else np.int64)
    stragglers = np.zeros(0, np.intp)
    for _ in range(_PASSES):  # an outlier that is far enough hides another
        # Subtracting columns from the sums takes a quarter of the time of copying all others.
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
