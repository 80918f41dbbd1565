"""What the simulation works on: the graph as device arrays, and where every node is."""

from __future__ import annotations

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from vfctl.errors import InputError, UsageError
from vfctl.graph import Graph

_NUDGE: Final = 1e-3
"""units/s²: far too weak to see, strong enough to part two nodes that were dropped on one spot."""


class Topology(NamedTuple):
    """The graph, as the forces see it.

    Attributes:
        edges: int32 [edges, 2], node indices; without loops, which pull at nothing.
        weights: float32 [edges], scaled to a mean of 1, so that graphs with weights in the thousands lay out alike.
        mass: float32 [nodes], the sum of a node's edge weights, at least 1. It makes a hub of degree 5,000 as
            steady as any other node: the highest frequency of the springs no longer grows with the degree.
        nudge: float32 [nodes, 3], a tiny acceleration of its own for each node, zero in sum.
    """

    edges: jax.Array
    weights: jax.Array
    mass: jax.Array
    nudge: jax.Array


class State(NamedTuple):
    """One moment of the layout.

    Attributes:
        position: float32 [nodes, 3], units.
        velocity: float32 [nodes, 3], units/s.
        held: bool [nodes], nodes that are dragged: they stay where they are.
        age: float32 [], s, simulated time since the layout was last disturbed.
        energy: float32 [], mean kinetic energy per node and unit of mass, units²/s².
    """

    position: jax.Array
    velocity: jax.Array
    held: jax.Array
    age: jax.Array
    energy: jax.Array


def topology(graph: Graph) -> Topology:
    """The device arrays of `graph`."""
    edges = graph.edge_indices()
    linking = edges[:, 0] != edges[:, 1]
    edges = edges[linking]
    weights = graph.edges["weight"][linking].astype(np.float64)
    if len(weights):
        weights /= weights.mean()
    mass = np.bincount(edges.ravel(), np.repeat(weights, 2), minlength=len(graph))
    nudge = _directions(np.random.default_rng(0), len(graph))
    nudge -= nudge.mean(axis=0)
    return Topology(
        edges=jnp.asarray(edges, jnp.int32),
        weights=jnp.asarray(weights, jnp.float32),
        mass=jnp.asarray(np.maximum(mass, 1.0), jnp.float32),
        nudge=jnp.asarray(_NUDGE * nudge, jnp.float32),
    )


def init(graph: Graph, seed: int, *, spacing: float) -> State:
    """All nodes at rest, spread evenly over a ball whose volume grows with their number.

    The same seed gives the same positions, on any device.

    Args:
        seed: 0 or more.
        spacing: units; each node gets this much room in each direction.

    Raises:
        InputError: the graph has no nodes.
        UsageError: the seed is negative.
    """
    count = len(graph)
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, not {seed}")
    if count == 0:
        raise InputError(f"{graph.name}: a graph without nodes cannot be laid out")
    random = np.random.default_rng(seed)
    radius = spacing * (count * 3 / (4 * np.pi)) ** (1 / 3)
    position = radius * np.cbrt(random.random((count, 1))) * _directions(random, count)
    position -= position.mean(axis=0)
    return State(
        position=jnp.asarray(position, jnp.float32),
        velocity=jnp.zeros((count, 3), jnp.float32),
        held=jnp.zeros(count, jnp.bool_),
        age=jnp.zeros((), jnp.float32),
        energy=jnp.zeros((), jnp.float32),
    )


def _directions(random: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Unit vectors, float64 [count, 3]."""
    vectors: npt.NDArray[np.float64] = random.normal(size=(count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
