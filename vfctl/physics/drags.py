"""Which nodes are held, and by which client. Drags and the time go in, placements come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vfctl.protocol import NodeDrag

HOLD_US: Final = 500_000
"""µs after the last message of a drag at which it ends, so that a client that vanished releases its node."""


class Placement(NamedTuple):
    """A change for `simulation.place`.

    Attributes:
        placed: bool [nodes], nodes that are moved.
        target: float32 [nodes, 3], their new positions, units.
        held: bool [nodes], nodes that are held from now on.
    """

    placed: npt.NDArray[np.bool_]
    target: npt.NDArray[np.float32]
    held: npt.NDArray[np.bool_]


class Dragged(NamedTuple):
    """One drag message.

    Attributes:
        node: index of the node.
        sender: number of the client.
        drag: the message.
    """

    node: int
    sender: int
    drag: NodeDrag


@dataclass(slots=True)
class _Drag:
    """A drag in progress, of one node by one client.

    Attributes:
        position: x, y, z of its last message, units.
        last_us: time of its last message, µs.
        gone: the client has disconnected, so the node does not return to this drag.
    """

    position: tuple[float, float, float]
    last_us: int
    gone: bool = False


class HeldNodes:
    """The nodes that are being dragged.

    The newest drag owns the node. Others change nothing until it ends; then the previous drag resumes. So a node never
    jumps between two drags.

    Args:
        count: number of nodes in the graph.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._by_node: dict[int, dict[int, _Drag]] = {}
        """By node index, then by sender. The last one is the newest and owns the node."""

    def __len__(self) -> int:
        """Number of nodes that are being dragged."""
        return len(self._by_node)

    def update(self, drags: Iterable[Dragged], now_us: int) -> Placement | None:
        """Apply drags in their order, and release drags that have expired. Return None if nothing changed.

        A final drag by the owner, or of a node without one, places the node at its position.
        """
        drags = list(drags)
        released = self._expire({(each.node, each.sender) for each in drags}, now_us)
        positions: dict[int, tuple[float, float, float]] = {}
        for index, sender, drag in drags:
            active = self._by_node.setdefault(index, {})
            position = drag.x, drag.y, drag.z
            if not drag.final:
                active[sender] = _Drag(position, now_us)  # a drag in progress keeps its rank
                if next(reversed(active)) == sender:
                    positions[index] = position
                continue
            if not active or next(reversed(active)) == sender:
                positions[index] = position
                released.add(index)
            active.pop(sender, None)
        for index in released:
            previous = self._previous_position(index)
            if previous is not None:
                positions[index] = previous
        self._by_node = {index: active for index, active in self._by_node.items() if active}
        return self._placement(positions) if positions or released else None

    def leave(self, sender: int) -> None:
        """Record that a client has disconnected. Its node stays held for the rest of HOLD_US, in case it reconnects."""
        for active in self._by_node.values():
            if sender in active:
                active[sender].gone = True

    def _expire(self, dragging: set[tuple[int, int]], now_us: int) -> set[int]:
        """Remove drags that have expired; return the nodes that they owned."""
        released = set()
        for index, active in self._by_node.items():
            owner = next(reversed(active))
            for sender, drag in list(active.items()):
                # A clock that was set back must not hold a node for longer.
                drag.last_us = min(drag.last_us, now_us)
                if now_us - drag.last_us >= HOLD_US and (index, sender) not in dragging:
                    del active[sender]
                    if sender == owner:
                        released.add(index)
        return released

    def _previous_position(self, index: int) -> tuple[float, float, float] | None:
        """The position of the previous drag of a node whose owner released it; None if there is none."""
        active = self._by_node[index]
        while active:
            drag = active[next(reversed(active))]
            if not drag.gone:
                return drag.position
            active.popitem()
        return None

    def _placement(self, positions: dict[int, tuple[float, float, float]]) -> Placement:
        placed = np.zeros(self._count, np.bool_)
        target = np.zeros((self._count, 3), np.float32)
        placed[list(positions)] = True
        for index, position in positions.items():
            target[index] = position
        held = np.zeros(self._count, np.bool_)
        held[list(self._by_node)] = True
        return Placement(placed, target, held)
