"""The sending side of COMPACT: one for all connections to a graph, which remembers the newest states on their grid.

What a connection has is two numbers. Connections with the same two, and the same filter, share one section; one that
has skipped rounds, joined or changed its filter needs no chain of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from vfctl.protocol.compact import (
    MAX_LAG,
    SectionHeader,
    extrapolate,
    ids_check,
    key_section,
    residual_section,
)
from vfctl.protocol.grid import Grid, Integers, Positions

MAX_VELOCITY_REUSE: Final = 10
"""A velocity that was measured over a span is believed for so many; beyond that, standing still is the better guess."""

MAX_RESIDUAL_BYTES_PER_NODE: Final = 6
"""From here on it is looked whether a key frame is shorter."""

_KEPT_STATES: Final = 32
_KEPT_BYTES: Final = 64 * 2**20
_MAX_HISTORIES: Final = 8


class History(NamedTuple):
    """What a connection has, by the numbers of the states: all that a server keeps of it.

    Attributes:
        chain: to which the states belong.
        earlier: the state before the newest; None if there is none.
        latest: the newest.
    """

    chain: int
    earlier: int | None
    latest: int


class View:
    """The nodes that an audience sees: those of one FullGraph, in its order. Compared by identity: make one a filter.

    Args:
        ids: u32 [seen nodes].
        indices: int64 [seen nodes], where they stand among all nodes; None if all are seen.
    """

    __slots__ = ("__weakref__", "check", "count", "indices")

    def __init__(self, ids: npt.NDArray[np.uint32], indices: npt.NDArray[np.int64] | None = None) -> None:
        if indices is not None and len(indices) != len(ids):
            raise ValueError(f"{len(ids)} ids for {len(indices)} nodes")
        self.count = len(ids)
        self.indices = indices
        self.check = ids_check(ids)

    def gather(self, whole: Integers) -> Integers:
        """The columns of the seen nodes, int32 [3, seen nodes]."""
        return whole if self.indices is None else whole.take(self.indices, axis=1)


class CompactEncoder:
    """Makes the sections of one graph's states.

    Args:
        chain: number of the first chain, u32; each new grid takes the next. Begin with a random one: then a frame of
            another server, or of the same before a restart, is not taken for one of this.
        kept_states: how many states are remembered, at least 3: who has none of them gets a key frame. Of large graphs
            it is fewer, 64 MiB in all.
        max_histories: residuals are worked out for so many different pairs of earlier states at most, for each new
            state; all others get the one key frame, and have the same pair from then on.

    Attributes:
        chain: number of the present chain.
        position: number of the newest state; -1 before there is one.
        grid: of the present chain.
        key_frames, residual_frames: sections made so far, each for any number of connections.
    """

    def __init__(self, chain: int = 0, *, kept_states: int = _KEPT_STATES, max_histories: int = _MAX_HISTORIES) -> None:
        self.chain = chain % 2**32
        self.position = -1
        self.grid = Grid(1.0)
        self.key_frames = 0
        self.residual_frames = 0
        self._kept_states = kept_states
        self._max_histories = max_histories
        self._states: dict[int, tuple[Grid, Integers]] = {}
        self._residuals: dict[tuple[int, int], Integers] = {}
        # By view, for as long as somebody has it: who changes filters at rest leaves none behind.
        self._keys: WeakKeyDictionary[View, tuple[bytes, History]] = WeakKeyDictionary()
        self._sections: WeakKeyDictionary[View, dict[History, tuple[bytes, History]]] = WeakKeyDictionary()
        self._stride = 1

    def push(self, position: int, positions: Positions) -> None:
        """A new state; the same number again changes nothing.

        Nodes that leave the grid's box, or a layout that has become too small or far too large for its step, start a
        new chain.

        Args:
            position: its number, u32. Numbers grow with time, and may leave some out: prediction takes them for times.
            positions: float32 [3, nodes], x, y and z; always of the same nodes. What is not finite is read back as NaN.

        Raises:
            ValueError: a number that is not beyond the last one, or another number of nodes.
        """
        if position == self.position:
            return
        if not self.position < position < 2**32:
            raise ValueError(f"state {position} behind {self.position}, expected a higher number, below 2^32")
        count = positions.shape[1]
        if self._states and count != self._states[self.position][1].shape[1]:
            raise ValueError(f"{count} nodes, expected {self._states[self.position][1].shape[1]}: use another encoder")
        state = self._quantise(positions)
        self.position = position
        self._states[position] = (self.grid, state)
        kept = max(3, min(self._kept_states, _KEPT_BYTES // max(1, state.nbytes)))
        while len(self._states) > kept:
            del self._states[next(iter(self._states))]
        self._residuals.clear()
        self._keys.clear()
        self._sections.clear()

    def section(self, view: View, history: History | None) -> tuple[bytes, History]:
        """The newest state for connections that see `view` and have `history`, and what they have with it.

        Equal arguments get the same section, made once.

        Args:
            history: what was returned for the last section that went out to them. None for those that have none, or
                have got a FullGraph since.
        """
        if history is None or history.chain != self.chain:
            return self._key(view)
        earlier, latest = history.earlier, history.latest
        back = self.position - latest
        span = 0 if earlier is None else latest - earlier
        if not back or back > MAX_VELOCITY_REUSE * span or earlier not in self._states or span > MAX_LAG:
            span = 0
        sections = self._sections.setdefault(view, {})
        made = sections.get(history)
        if made is None:
            made = sections[history] = self._residual(view, history, back, span) or self._key(view)
        return made

    def _residual(self, view: View, history: History, back: int, span: int) -> tuple[bytes, History] | None:
        residual = self._residual_of(history.latest, back, span)
        if residual is None:
            return None
        header = SectionHeader(self.chain, self.position, back, span)
        section = residual_section(view.gather(residual), header, view.check)
        if section is None or len(section) > MAX_RESIDUAL_BYTES_PER_NODE * view.count + 64:
            key = self._key(view)
            if section is None or len(key[0]) < len(section):
                return key
        self.residual_frames += 1
        if back:
            self._stride = back
        return section, History(self.chain, history.latest, self.position) if back else history

    def _residual_of(self, latest: int, back: int, span: int) -> Integers | None:
        """The newest state less its prediction, of all nodes; None if it cannot be had, or there are too many."""
        residual = self._residuals.get((latest, span))
        if residual is None:
            if latest not in self._states or back > MAX_LAG or len(self._residuals) >= self._max_histories:
                return None
            newest, before = self._state(latest), self._state(latest - span)
            residual = self._state(self.position) - extrapolate(before, newest, span, back)
            self._residuals[latest, span] = residual
        return residual

    def _key(self, view: View) -> tuple[bytes, History]:
        """A key frame, with which a connection has the same history as those that go on without one."""
        made = self._keys.get(view)
        if made is None:
            state = view.gather(self._state(self.position))
            number, earlier = self._state_before()
            span = 0 if earlier is None else self.position - number
            difference = None if earlier is None else state - view.gather(earlier)
            header = SectionHeader(self.chain, self.position, None, span)
            section, span = key_section(self.grid, state, difference, header, view.check)
            history = History(self.chain, self.position - span if span else None, self.position)
            made = self._keys[view] = section, history
            self.key_frames += 1
        return made

    def _state_before(self) -> tuple[int, Integers | None]:
        """The state that those who are served now had last: the one that lies as far back as their rounds are long.

        None if there is none, or none that fits into the box of a new grid.
        """
        wanted = self.position - self._stride
        before = [number for number in self._states if number < self.position and self.position - number <= MAX_LAG]
        number = min(before, key=lambda number: abs(number - wanted), default=-1)
        try:
            return number, self._state(number) if before else None
        except ValueError:
            return number, None

    def _state(self, number: int) -> Integers:
        """A remembered state on the present grid."""
        grid, state = self._states[number]
        if grid != self.grid:
            state = self.grid.quantise(grid.dequantise(state))
            self._states[number] = self.grid, state
        return state

    def _quantise(self, positions: Positions) -> Integers:
        if not self._states:
            self.grid = Grid.covering(positions)
            return self.grid.quantise(positions)
        try:
            state = self.grid.quantise(positions)
        except ValueError:
            state = None
        if state is not None and self.grid.suits(state):
            return state
        grid = Grid.covering(positions)
        if state is not None and grid == self.grid:
            return state
        self.grid = grid
        self.chain = (self.chain + 1) % 2**32
        return grid.quantise(positions)
