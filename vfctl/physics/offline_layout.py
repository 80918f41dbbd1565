"""Computes a layout without a server: the physics from the first step to rest, as fast as possible."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vfctl.graph import Graph
from vfctl.graph.layout_file import PlacedGraph
from vfctl.physics.orchestrator import PhysicsOrchestrator
from vfctl.physics.parameters import PhysicsParameters
from vfctl.physics.simulation import rest_energy

_NODES_PER_SLICE: Final = 200_000
"""nodes × steps between two checks whether to stop, a fraction of a second. It depends on the size of the graph, not on
the clock, because two runs must end at the same step to have the same layout."""

_MAX_STEPS_PER_SLICE: Final = 64


@dataclass(frozen=True, slots=True)
class LayoutProgress:
    """Progress of a layout.

    Attributes:
        steps: steps done.
        max_steps: steps after which it gives up.
        energy: mean kinetic energy per node and unit of mass, units²/s².
        share: estimated progress, 0 to 1, by the logarithm of the energy. It never falls.
    """

    steps: int
    max_steps: int
    energy: float
    share: float


def lay_out(
    graph: Graph,
    parameters: PhysicsParameters,
    *,
    seed: int,
    max_steps: int,
    on_progress: Callable[[LayoutProgress], None] = lambda _: None,
    on_compiled: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PlacedGraph:
    """Run the physics to rest.

    Args:
        graph: the graph.
        parameters: of the forces.
        seed: of the first positions, 0 or more. The same seed, graph and parameters give the same layout on the same
            kind of device.
        max_steps: give up after this many.
        on_progress: called several times a second.
        on_compiled: called once, before the first step.
        should_stop: called as often as `on_progress`; True ends the layout early.

    Returns:
        The graph with its positions, also if it is not `at_rest`.

    Raises:
        InputError: the graph has no nodes.
        UsageError: a parameter is out of its range, or the seed is negative.
    """
    orchestrator = PhysicsOrchestrator(graph, parameters, seed=seed)
    on_compiled()
    goal = _Goal(rest_energy(parameters.rest_length))
    slice_steps = max(1, min(_MAX_STEPS_PER_SLICE, _NODES_PER_SLICE // len(graph)))
    steps, at_rest = 0, False

    def report(done: int, energy: float) -> None:
        on_progress(LayoutProgress(steps + done, max_steps, energy, goal.share(energy)))

    while not at_rest and steps < max_steps and not should_stop():
        count = min(slice_steps, max_steps - steps)
        at_rest = orchestrator.settle(count, report)
        steps += count
    return PlacedGraph(graph, orchestrator.position_update(0).nodes, at_rest, steps)


class _Goal:
    """Progress from the highest energy down to that of rest.

    Args:
        energy: energy of a layout at rest, units²/s².
    """

    def __init__(self, energy: float) -> None:
        self._rest = energy
        self._highest = 0.0
        self._share = 0.0

    def share(self, energy: float) -> float:
        """Record the current energy and return the progress."""
        if energy > self._highest and math.isfinite(energy):
            self._highest = energy
        if self._highest > self._rest and energy > 0:
            way = math.log(self._highest / self._rest)
            self._share = max(self._share, min(1.0, math.log(self._highest / energy) / way))
        return self._share
