"""The sending side of COMPACT: one encoder for all connections to a graph. It keeps the newest states on their grid.

The history of a connection is two numbers. Connections with the same history and filter share one section. A connection
that skipped updates, is new, or changed its filter needs no chain of its own.
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
"""Number of spans for which a measured velocity is used. Beyond it, velocity 0 predicts better."""

MAX_RESIDUAL_BYTES_PER_NODE: Final = 6
"""Bytes from which a residual frame is compared with a key frame."""

_KEPT_STATES: Final = 32
_KEPT_BYTES: Final = 64 * 2**20
_MAX_HISTORIES: Final = 8


class History(NamedTuple):
    """The states that a connection has, by their numbers.

    Attributes:
        chain: number of their chain.
        earlier: the state before the latest; None if there is none.
        latest: the latest state.
    """

    chain: int
    earlier: int | None
    latest: int


class View:
    """The nodes of a FullGraph, in its order. Views are compared by identity, so make one for each filter.

    Args:
        ids: u32 [visible nodes].
        indices: int64 [visible nodes], their indices among all nodes; None if all are visible.
    """

    __slots__ = ("__weakref__", "check", "count", "indices")

    def __init__(self, ids: npt.NDArray[np.uint32], indices: npt.NDArray[np.int64] | None = None) -> None:
        if indices is not None and len(indices) != len(ids):
            raise ValueError(f"{len(ids)} ids for {len(indices)} nodes")
        self.count = len(ids)
        self.indices = indices
        self.check = ids_check(ids)

    def gather(self, whole: Integers) -> Integers:
        """The columns of the visible nodes, int32 [3, visible nodes]."""
        return whole if self.indices is None else whole.take(self.indices, axis=1)


class CompactEncoder:
    """Makes the sections of one graph's states.

    Args:
        chain: number of the first chain, u32. Each new grid has the next number. Use a random one, so that frames of
            another server, or from before a restart, are not confused with those of this one.
        kept_states: number of states that are kept, at least 3. A connection without any of them gets a key frame. For
            large graphs it is fewer, 64 MiB in all.
        max_histories: number of different histories for which residuals are computed, for each new state. All other
            connections get one key frame, and have the same history from then on.

    Attributes:
        chain: number of the current chain.
        position: number of the newest state; -1 before the first.
        grid: grid of the current chain.
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
        # Weak by view, so that clients that change filters leave nothing behind.
        self._keys: WeakKeyDictionary[View, tuple[bytes, History]] = WeakKeyDictionary()
        self._sections: WeakKeyDictionary[View, dict[History, tuple[bytes, History]]] = WeakKeyDictionary()
        self._stride = 1

    def push(self, position: int, positions: Positions) -> None:
        """Add a state. The same number again changes nothing.

        A new chain starts if nodes leave the grid's box, or if the layout is too small or far too large for the step.

        Args:
            position: number of the state, u32. The prediction uses numbers as times; some may be left out.
            positions: float32 [3, nodes], x, y and z, always of the same nodes. Values that are not finite become NaN.

        Raises:
            ValueError: `position` is not above the last one, or there is another number of nodes.
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
        """Return the section of the newest state for connections with this view and history, and their history after
        it.

        Equal arguments return the same section, which is made once.

        Args:
            view: the visible nodes.
            history: the result of the last call for these connections. None for those without one, and after a
                FullGraph.
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
        """The newest state minus its prediction, for all nodes; None if a state is missing or there are too many
        histories."""
        residual = self._residuals.get((latest, span))
        if residual is None:
            if latest not in self._states or back > MAX_LAG or len(self._residuals) >= self._max_histories:
                return None
            newest, before = self._state(latest), self._state(latest - span)
            residual = self._state(self.position) - extrapolate(before, newest, span, back)
            self._residuals[latest, span] = residual
        return residual

    def _key(self, view: View) -> tuple[bytes, History]:
        """A key frame. After it a connection has the same history as connections that did not need one."""
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
        """The last state of the connections that are served now: one interval before the newest.

        None if there is none, or if it does not fit into the box of a new grid.
        """
        wanted = self.position - self._stride
        before = [number for number in self._states if number < self.position and self.position - number <= MAX_LAG]
        number = min(before, key=lambda number: abs(number - wanted), default=-1)
        try:
            return number, self._state(number) if before else None
        except ValueError:
            return number, None

    def _state(self, number: int) -> Integers:
        """A state that is kept, on the current grid."""
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
