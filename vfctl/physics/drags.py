"""Which nodes are held: drags and the passing of time go in, placements come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vfctl.protocol import NodeDrag

HOLD_US: Final = 500_000
"""A node is released this long after its last drag, so a client that vanished lets go of it."""


class Placement(NamedTuple):
    """What changed, as `simulation.place` takes it.

    Attributes:
        placed: bool [nodes], nodes that were put somewhere.
        target: float32 [nodes, 3], where to, units.
        held: bool [nodes], nodes that are held from now on.
    """

    placed: npt.NDArray[np.bool_]
    target: npt.NDArray[np.float32]
    held: npt.NDArray[np.bool_]


class HeldNodes:
    """The nodes that are being dragged.

    Args:
        count: number of nodes in the graph.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._last_drag_us: dict[int, int] = {}

    def update(self, drags: Mapping[int, NodeDrag], now_us: int) -> Placement | None:
        """Apply the newest drag of each node (by node index), let go of the expired ones; None if nothing changed.

        A final drag puts its node down where it says and releases it at once.
        """
        expired = self._expire(drags, now_us)
        if not drags and not expired:
            return None
        placed = np.zeros(self._count, np.bool_)
        target = np.zeros((self._count, 3), np.float32)
        for index, drag in drags.items():
            placed[index] = True
            target[index] = drag.x, drag.y, drag.z
            if drag.final:
                self._last_drag_us.pop(index, None)
            else:
                self._last_drag_us[index] = now_us
        held = np.zeros(self._count, np.bool_)
        held[list(self._last_drag_us)] = True
        return Placement(placed, target, held)

    def _expire(self, drags: Mapping[int, NodeDrag], now_us: int) -> bool:
        before = len(self._last_drag_us)
        # A clock that was set back must not hold a node until it has caught up.
        last = {index: min(then, now_us) for index, then in self._last_drag_us.items()}
        self._last_drag_us = {index: then for index, then in last.items() if index in drags or now_us - then < HOLD_US}
        return len(self._last_drag_us) < before
