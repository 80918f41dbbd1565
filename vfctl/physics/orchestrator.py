"""PhysicsOrchestrator: the layout as those outside see it. Sans-IO: it is told the time and asked for each tick."""

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
from vfctl.physics.drags import HeldNodes
from vfctl.physics.parameters import PhysicsParameters
from vfctl.physics.settling import Settling, rest_energy
from vfctl.physics.simulation import MAX_STEPS_PER_CALL, advance, place
from vfctl.physics.state import init, topology
from vfctl.protocol import NODE_DTYPE, FullGraph, Message, NodeDrag, Nodes, PositionUpdate, Trailer

MAX_COORDINATE: Final = 1e6
"""units. Nodes are not dragged further out: float32 positions get coarse there, and drags by mistake go far."""

_PAIRS_PER_CALL: Final = 10**8
"""Bounds how long `settle` computes between two calls of `progress`: some tenths of a second on one CPU core."""


class _Latest(NamedTuple):
    """What a reader in another thread gets, always whole: replaced, never changed."""

    nodes: Nodes
    tick_number: int
    settled: bool


class PhysicsOrchestrator:
    """Lays a graph out, tick by tick.

    One thread at a time calls `tick` and `settle`. Everything else may be called from any thread meanwhile: what is
    asked for is applied at the start of the next tick. The constructor compiles all that a tick needs.

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
        self._graph = graph
        self._index_of = {node_id: index for index, node_id in enumerate(graph.ids.tolist())}
        self._parameters = (parameters or PhysicsParameters()).validated()
        self._state = init(graph, seed, spacing=self._parameters.rest_length)
        self._topology = topology(graph)
        self._keep_awake = keep_awake
        self._settling = Settling()
        self._held = HeldNodes(len(graph))
        self._tick_number = 0
        self._lock = threading.Lock()  # guards the three below
        self._wanted_parameters = self._parameters
        self._parameters_changed = False
        self._drags: dict[int, NodeDrag] = {}
        self._use_parameters()
        self._warm_up()
        self._latest = _Latest(self._advance(0), 0, False)

    @property
    def graph(self) -> Graph:
        """The graph that is laid out."""
        return self._graph

    @property
    def graph_version(self) -> int:
        """Grows when another graph is laid out; here it stays the same."""
        return 0

    def events(self, now_us: int) -> Sequence[Message]:
        """What clients should get besides positions: nothing, from a simulation."""
        return ()

    @property
    def parameters(self) -> PhysicsParameters:
        """The parameters as of the next tick."""
        with self._lock:
            return self._wanted_parameters

    @property
    def settled(self) -> bool:
        """True if the layout is at rest and nothing that was applied disturbs it."""
        return self._latest.settled

    def apply(self, message: Message) -> None:
        """Hold a node where it is dragged to, from the next tick on; of several drags of a node the last one wins.

        Raises:
            InputError: there is no such node, it is dragged to nowhere or too far, or the message is no drag.
        """
        if not isinstance(message, NodeDrag):
            raise InputError(f"the physics can do nothing with a {type(message).__name__}")
        index = self._index_of.get(message.node_id)
        if index is None:
            raise InputError(f"there is no node {message.node_id} to drag")
        for axis, value in (("x", message.x), ("y", message.y), ("z", message.z)):
            if not (math.isfinite(value) and abs(value) <= MAX_COORDINATE):
                raise InputError(
                    f"node {message.node_id} cannot be dragged to {axis} = {value:g}",
                    hint=f"coordinates go from {-MAX_COORDINATE:,.0f} to {MAX_COORDINATE:,.0f}",
                )
        with self._lock:
            self._drags[index] = message

    def set_parameters(self, **changes: float) -> None:
        """Change some parameters, from the next tick on.

        Raises:
            UsageError: as for `PhysicsParameters.validated`; nothing is changed then.
        """
        with self._lock:
            self._wanted_parameters = self._wanted_parameters.validated(**changes)
            self._parameters_changed = True

    def tick(self, now_us: int) -> PositionUpdate | None:
        """One step, or none if the layout is settled: then the last state is still valid as of now, and None says so.

        Args:
            now_us: unix time in µs.

        Returns:
            The new state, its trailer with the number of the tick; the update with which the layout comes to rest is
            the one that says `settled`. Its node array is never changed later.
        """
        self._tick_number += 1
        self._apply_requests(now_us)
        if self._at_rest:
            self._latest = self._latest._replace(tick_number=self._tick_number)
            return None
        nodes = self._advance(1)
        self._latest = _Latest(nodes, self._tick_number, self._at_rest)
        return self.position_update(now_us)

    def position_update(self, now_us: int) -> PositionUpdate:
        """The present state, as of `now_us`: for those who come when a settled layout ticks without updates."""
        latest = self._latest
        return PositionUpdate(latest.nodes, latest.settled, Trailer(latest.tick_number, now_us, 0))

    def full_graph(self, now_us: int) -> FullGraph:
        """The whole graph in its present state, as of `now_us`, with METADATA and TIMED."""
        latest = self._latest
        return to_full_graph(self._graph, latest.nodes, trailer=Trailer(latest.tick_number, now_us, 0))

    def settle(self, max_steps: int, progress: Callable[[int, float], None] | None = None) -> bool:
        """Compute on to rest, as fast as the machine can; no ticks pass.

        Drags wait for the next tick; changed parameters count at once.

        Args:
            max_steps: give up after this many.
            progress: called now and then with the number of steps done and the mean kinetic energy per node.

        Returns:
            Whether the layout is at rest.
        """
        with self._lock:
            self._take_parameters()
        per_call = max(1, min(MAX_STEPS_PER_CALL, _PAIRS_PER_CALL // len(self._graph) ** 2))
        done = 0
        nodes = self._latest.nodes
        while done < max_steps and not self._settling.settled:
            count = min(per_call, max_steps - done)
            nodes = self._advance(count)
            done += count
            if progress is not None:
                progress(done, float(self._state.energy))
        self._latest = _Latest(nodes, self._tick_number, self._at_rest)
        return self._settling.settled

    @property
    def _at_rest(self) -> bool:
        return self._settling.settled and not self._keep_awake

    def _apply_requests(self, now_us: int) -> None:
        with self._lock:
            self._take_parameters()
            drags, self._drags = self._drags, {}
        placement = self._held.update(drags, now_us)
        if placement is not None:
            self._state = place(self._state, *placement)
            self._settling = Settling()

    def _take_parameters(self) -> None:
        """Take over the wanted parameters, under the lock."""
        if self._parameters_changed:
            self._parameters_changed = False
            self._parameters = self._wanted_parameters
            self._use_parameters()
            self._state = self._state._replace(age=jnp.zeros((), jnp.float32))
            self._settling = Settling()

    def _use_parameters(self) -> None:
        self._device_parameters = jax.tree.map(jnp.float32, self._parameters)
        self._rest_energy = rest_energy(self._parameters.rest_length)

    def _advance(self, count: int) -> Nodes:
        """`count` steps; the node array after them, in one transfer from the device."""
        self._state, frame = advance(self._topology, self._device_parameters, self._state, np.int32(count))
        motion, energies = jax.device_get(frame)
        for energy in energies[:count].tolist():
            self._settling = self._settling.after(energy, self._rest_energy)
        nodes = np.empty(len(self._graph), NODE_DTYPE)
        nodes["id"] = self._graph.ids
        nodes.view(np.float32).reshape(-1, 7)[:, 1:] = motion
        nodes.flags.writeable = False
        return nodes

    def _warm_up(self) -> None:
        """Compile and run once, for nothing, what a tick and a drag need: the first tick is as quick as any other."""
        count = len(self._graph)
        nowhere = np.zeros(count, np.bool_)
        still = place(self._state, nowhere, np.zeros((count, 3), np.float32), nowhere)
        _, frame = advance(self._topology, self._device_parameters, still, np.int32(1))
        frame.motion.block_until_ready()
