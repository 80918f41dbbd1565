"""PhysicsOrchestrator: the layout, tick by tick. Sans-IO: the caller passes the time and asks for each tick."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vfctl.errors import InputError
from vfctl.graph import Graph, to_full_graph
from vfctl.physics.device import device_name, keep_compiled
from vfctl.physics.drags import Dragged, HeldNodes
from vfctl.physics.parameters import PhysicsParameters
from vfctl.physics.simulation import MAX_STEPS_PER_CALL, Frame, Settling, advance, place, rest_energy
from vfctl.physics.state import State, Topology, init, moved_to, topology
from vfctl.protocol import NODE_DTYPE, FullGraph, Message, NodeDrag, Nodes, PositionUpdate, Trailer

MAX_COORDINATE: Final = 1e6
"""units. Drags beyond this are refused, because float32 positions are coarse there."""

_NODES_PER_CALL: Final = 400_000
"""nodes × steps that `settle` computes between two calls of `progress`: 30 ms on one CPU core."""


class _Latest(NamedTuple):
    """A consistent state for readers in other threads. It is replaced, never changed."""

    graph: Graph
    nodes: Nodes
    tick_number: int
    settled: bool


class _Laid(NamedTuple):
    """A graph and its device arrays.

    Attributes:
        version: grows with each graph.
        state: where its nodes start.
    """

    graph: Graph
    version: int
    index_of: dict[int, int]
    topology: Topology
    state: State


class PhysicsOrchestrator:
    """Computes the layout of a graph, tick by tick.

    One thread at a time calls `tick` and `settle`. All other methods may be called from any thread at the same time;
    their changes are applied at the start of the next tick. The constructor compiles all that a tick needs.

    Args:
        parameters: of the forces; checked here.
        seed: of the initial positions, 0 or more: the same seed, graph and parameters make the same layout.
        keep_awake: never settle; go on stepping even when nothing moves any more.

    Raises:
        InputError: the graph has no nodes.
        UsageError: a parameter is out of its range, or the seed is negative.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: PhysicsParameters | None = None,
        *,
        seed: int = 0,
        keep_awake: bool = False,
    ) -> None:
        keep_compiled()
        self._seed = seed
        self._parameters = (parameters or PhysicsParameters()).validated()
        self._keep_awake = keep_awake
        self._settling = Settling()
        self._ahead: tuple[State, Frame] | None = None  # the next step, being computed
        self._tick_number = 0
        self._lock = threading.Lock()  # guards the five below
        self._wanted_parameters = self._parameters
        self._parameters_changed = False
        self._drags: list[tuple[int, NodeDrag]] = []
        self._left: list[int] = []
        self._wanted_graph: _Laid | None = None
        self._use_parameters()
        self._laid = self._lay(graph, 0, init(graph, seed, self._parameters))
        self._state = self._laid.state
        self._held = HeldNodes(len(graph))
        self._latest: _Latest = self._keep(self._dispatch(0), 0)

    @property
    def graph(self) -> Graph:
        """The current graph."""
        return self._laid.graph

    @property
    def graph_version(self) -> int:
        """Grows with each new graph."""
        return self._laid.version

    def events(self, now_us: int) -> Sequence[Message]:
        """Messages for clients besides positions: none, for a simulation."""
        return ()

    @property
    def device(self) -> str:
        """The device, for people: `cpu`, or `gpu` with its name."""
        return device_name()

    @property
    def parameters(self) -> PhysicsParameters:
        """The parameters as of the next tick."""
        with self._lock:
            return self._wanted_parameters

    @property
    def settled(self) -> bool:
        """Whether the layout is at rest and no change is waiting."""
        return self._latest.settled

    @property
    def idle(self) -> bool:
        """Whether the next tick computes nothing: the layout has settled, and no drag or change waits for the tick."""
        with self._lock:
            waiting = self._drags or self._left or self._parameters_changed or self._wanted_graph
        return self._latest.settled and not waiting and not len(self._held)

    def apply(self, message: Message, sender: int = 0) -> None:
        """Hold a node at a position from the next tick on. The newest of several drags owns the node.

        Args:
            sender: number of the client.

        Raises:
            InputError: the node does not exist, the position is not finite or too far, or the message is no drag.
        """
        if not isinstance(message, NodeDrag):
            raise InputError(f"the physics can do nothing with a {type(message).__name__}")
        if message.node_id not in self._laid.index_of:
            raise InputError(f"there is no node {message.node_id} to drag")
        for axis, value in (("x", message.x), ("y", message.y), ("z", message.z)):
            if not (math.isfinite(value) and abs(value) <= MAX_COORDINATE):
                raise InputError(
                    f"node {message.node_id} cannot be dragged to {axis} = {value:g}",
                    hint=f"coordinates go from {-MAX_COORDINATE:,.0f} to {MAX_COORDINATE:,.0f}",
                )
        with self._lock:
            self._drags.append((sender, message))

    def leave(self, sender: int) -> None:
        """Record that a client has disconnected. Its nodes are released 500 ms after its last drag."""
        with self._lock:
            self._left.append(sender)

    def set_parameters(self, **changes: float) -> None:
        """Change some parameters, from the next tick on.

        Raises:
            UsageError: as for `PhysicsParameters.validated`; nothing is changed then.
        """
        with self._lock:
            self._wanted_parameters = self._wanted_parameters.validated(**changes)
            self._parameters_changed = True

    def set_graph(self, graph: Graph) -> None:
        """Replace the graph from the next tick on. Nodes that both graphs have (same id) keep their positions.

        Compiles what the new size needs before it returns, while ticks continue.

        Raises:
            InputError: the graph has no nodes.
        """
        state = moved_to(self._laid.graph, self._latest.nodes, init(graph, self._seed, self.parameters), graph)
        laid = self._lay(graph, self._laid.version + 1, state)
        with self._lock:
            self._wanted_graph = laid

    def tick(self, now_us: int) -> PositionUpdate | None:
        """Compute one step. Return None if the layout is settled, so that the last state is still valid.

        Args:
            now_us: unix time in µs.

        Returns:
            The new state, with the number of the tick in its trailer. The update with which the layout comes to rest
            is `settled`. Its node array is never changed later.
        """
        self._tick_number += 1
        self._apply_requests(now_us)
        if self._at_rest:
            self._latest = self._latest._replace(tick_number=self._tick_number)
            return None
        self._latest = self._keep(self._ahead or self._dispatch(1), 1)
        # The next step is computed, and on a GPU copied, while this one is encoded and sent. If a drag or another
        # change comes before the next tick, that step is discarded, because a step is a pure function.
        self._ahead = None if self._at_rest else self._dispatch(1)
        return self.position_update(now_us)

    def position_update(self, now_us: int) -> PositionUpdate:
        """The current state as of `now_us`, for clients that connect while a settled layout sends no updates."""
        latest = self._latest
        return PositionUpdate(latest.nodes, latest.settled, Trailer(latest.tick_number, now_us, 0))

    def full_graph(self, now_us: int) -> FullGraph:
        """The whole graph in its current state as of `now_us`, with METADATA and TIMED."""
        latest = self._latest
        return to_full_graph(latest.graph, latest.nodes, trailer=Trailer(latest.tick_number, now_us, 0))

    def settle(self, max_steps: int, progress: Callable[[int, float], None] | None = None) -> bool:
        """Compute until the layout is at rest, as fast as possible. The number of ticks does not change.

        Drags wait for the next tick. Changed parameters apply at once.

        Args:
            max_steps: give up after this many.
            progress: called with the number of steps done and the mean kinetic energy per node.

        Returns:
            Whether the layout is at rest.
        """
        with self._lock:
            self._take_parameters()
        self._ahead = None
        per_call = max(1, min(MAX_STEPS_PER_CALL, _NODES_PER_CALL // len(self.graph)))
        done = 0
        while done < max_steps and not self._settling.settled:
            count = min(per_call, max_steps - done)
            self._latest = self._keep(self._dispatch(count), count)
            done += count
            if progress is not None:
                progress(done, float(self._state.energy))
        return self._settling.settled

    @property
    def _at_rest(self) -> bool:
        return self._settling.settled and not self._keep_awake

    def _apply_requests(self, now_us: int) -> None:
        with self._lock:
            self._take_parameters()
            laid, self._wanted_graph = self._wanted_graph, None
            drags, self._drags = self._drags, []
            left, self._left = self._left, []
        if laid is not None:
            self._use_graph(laid)
        index_of = self._laid.index_of
        known = [Dragged(index_of[drag.node_id], sender, drag) for sender, drag in drags if drag.node_id in index_of]
        placement = self._held.update(known, now_us)
        for sender in left:
            self._held.leave(sender)
        if placement is not None:
            self._disturb(place(self._state, *placement))

    def _take_parameters(self) -> None:
        """Apply the new parameters, under the lock."""
        if self._parameters_changed:
            self._parameters_changed = False
            self._parameters = self._wanted_parameters
            self._use_parameters()
            self._disturb(self._state._replace(age=jnp.zeros((), jnp.float32)))

    def _use_parameters(self) -> None:
        self._device_parameters = jax.tree.map(jnp.float32, self._parameters)
        self._rest_energy = rest_energy(self._parameters.rest_length)

    def _disturb(self, state: State) -> None:
        """Continue from `state`, awake."""
        self._state = state
        self._settling = Settling()
        self._ahead = None

    def _lay(self, graph: Graph, version: int, state: State) -> _Laid:
        """Prepare a graph: compile what a tick and a drag need, by running it once."""
        index_of = {node_id: index for index, node_id in enumerate(graph.ids.tolist())}
        laid = _Laid(graph, version, index_of, topology(graph), state)
        count = len(graph)
        nowhere = np.zeros(count, np.bool_)
        still = place(state, nowhere, np.zeros((count, 3), np.float32), nowhere)
        _, frame = advance(laid.topology, self._device_parameters, still, np.int32(1))
        frame.motion.block_until_ready()
        return laid

    def _use_graph(self, laid: _Laid) -> None:
        self._laid = laid
        self._held = HeldNodes(len(laid.graph))
        self._disturb(laid.state)
        self._latest = self._keep(self._dispatch(0), 0)

    def _dispatch(self, count: int) -> tuple[State, Frame]:
        """Start computing `count` steps from the current state, without waiting."""
        state, frame = advance(self._laid.topology, self._device_parameters, self._state, np.int32(count))
        for array in frame:
            array.copy_to_host_async()
        return state, frame

    def _keep(self, computed: tuple[State, Frame], count: int) -> _Latest:
        """Wait for `count` computed steps, continue from there, and copy the result for readers in one transfer."""
        self._state, frame = computed
        motion, energies = jax.device_get(frame)
        for energy in energies[:count].tolist():
            self._settling = self._settling.after(energy, self._rest_energy)
        nodes = np.empty(len(self.graph), NODE_DTYPE)
        nodes["id"] = self.graph.ids
        nodes.view(np.float32).reshape(-1, 7)[:, 1:] = motion
        nodes.flags.writeable = False
        return _Latest(self.graph, nodes, self._tick_number, self._at_rest)
