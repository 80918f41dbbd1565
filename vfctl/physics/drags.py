"""Which nodes are held, and by whom: drags and the passing of time go in, placements come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vfctl.protocol import NodeDrag

HOLD_US: Final = 500_000
"""A hand lets go this long after its last drag, so a client that vanished lets go of its node."""


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


class Dragged(NamedTuple):
    """One drag of one node.

    Attributes:
        node: its index.
        sender: whose drag it is.
    """

    node: int
    sender: int
    drag: NodeDrag


@dataclass(slots=True)
class _Hand:
    """Somebody's drag of a node that goes on.

    Attributes:
        place: x, y, z, where it was last.
        last_us: when.
        gone: its client has left: nothing goes back to it.
    """

    place: tuple[float, float, float]
    last_us: int
    gone: bool = False


class HeldNodes:
    """The nodes that are being dragged.

    Several may drag one node. It follows whoever began last; the others' drags change nothing until he lets go, then
    the one who began before him has it again. So it never jumps to and fro between two hands.

    Args:
        count: number of nodes in the graph.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._hands: dict[int, dict[int, _Hand]] = {}
        """By node index, then by sender; who began last is last, and holds it."""

    def __len__(self) -> int:
        """Number of nodes that are being dragged."""
        return len(self._hands)

    def update(self, drags: Iterable[Dragged], now_us: int) -> Placement | None:
        """Apply drags in the order in which they came, and let go of what has expired; None if nothing changed.

        A final drag of the one who holds a node, or of a node that nobody holds, puts it down where it says.
        """
        drags = list(drags)
        released = self._expire({(each.node, each.sender) for each in drags}, now_us)
        places: dict[int, tuple[float, float, float]] = {}
        for index, sender, drag in drags:
            hands = self._hands.setdefault(index, {})
            place = drag.x, drag.y, drag.z
            if not drag.final:
                hands[sender] = _Hand(place, now_us)  # a hand that is there already keeps its rank
                if next(reversed(hands)) == sender:
                    places[index] = place
                continue
            if not hands or next(reversed(hands)) == sender:
                places[index] = place
                released.add(index)
            hands.pop(sender, None)
        for index in released:
            place_again = self._fall_back(index)
            if place_again is not None:
                places[index] = place_again
        self._hands = {index: hands for index, hands in self._hands.items() if hands}
        return self._placement(places) if places or released else None

    def leave(self, sender: int) -> None:
        """That client has gone. A node that it holds stays held for what is left of HOLD_US, should it come back."""
        for hands in self._hands.values():
            if sender in hands:
                hands[sender].gone = True

    def _expire(self, dragging: set[tuple[int, int]], now_us: int) -> set[int]:
        """Forget the hands of which nothing has come for long; the nodes whose holders they were."""
        released = set()
        for index, hands in self._hands.items():
            holder = next(reversed(hands))
            for sender, hand in list(hands.items()):
                # A clock that was set back must not hold a node until it has caught up.
                hand.last_us = min(hand.last_us, now_us)
                if now_us - hand.last_us >= HOLD_US and (index, sender) not in dragging:
                    del hands[sender]
                    if sender == holder:
                        released.add(index)
        return released

    def _fall_back(self, index: int) -> tuple[float, float, float] | None:
        """Where the node goes now that its holder has let go of it; None: nowhere, nobody else drags it."""
        hands = self._hands[index]
        while hands:
            hand = hands[next(reversed(hands))]
            if not hand.gone:
                return hand.place
            hands.popitem()
        return None

    def _placement(self, places: dict[int, tuple[float, float, float]]) -> Placement:
        placed = np.zeros(self._count, np.bool_)
        target = np.zeros((self._count, 3), np.float32)
        placed[list(places)] = True
        for index, place in places.items():
            target[index] = place
        held = np.zeros(self._count, np.bool_)
        held[list(self._hands)] = True
        return Placement(placed, target, held)
