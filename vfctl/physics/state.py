"""The data of the simulation: the graph as device arrays, and the state of every node."""

from __future__ import annotations

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from vfctl.errors import InputError, UsageError
from vfctl.graph import Graph
from vfctl.physics.mesh import Mesh, cells_for, mesh_of
from vfctl.physics.parameters import PhysicsParameters
from vfctl.physics.start import ball, directions, start_positions
from vfctl.protocol import Nodes

_NUDGE: Final = 1e-3
"""units/s². Too weak to be seen, strong enough to separate two nodes at one position."""


_BLUNTING: Final = 0.6
"""Power of the lesser degree of its ends by which an edge pulls less. An edge between two hubs says little; if it pulls
like any other, hubs end in a heap in the middle. With 0 a scale-free graph of 10,000 keeps a tenth fewer neighbours,
with 1 its stress is 4 % higher."""


class Topology(NamedTuple):
    """The graph, as the forces see it.

    Attributes:
        edges: int32 [2, edges], node indices, without edges from a node to itself.
        weights: float32 [edges], less for edges between nodes of high degree. The mean is 1, so the layout does not
            depend on the unit of the weights.
        mass: float32 [nodes], the sum of a node's edge weights, at least 1. It makes a hub of degree 5,000 as
            steady as any other node: the highest frequency of the springs no longer grows with the degree.
        nudge: float32 [3, nodes], a tiny acceleration of its own for each node, zero in sum.
        mesh: the grid that computes the repulsion; None for all pairs.
    """

    edges: jax.Array
    weights: jax.Array
    mass: jax.Array
    nudge: jax.Array
    mesh: Mesh | None


class State(NamedTuple):
    """One moment of the layout.

    Attributes:
        position: float32 [3, nodes], units.
        velocity: float32 [3, nodes], units/s.
        held: bool [nodes], nodes that are dragged: they stay where they are.
        age: float32 [], s, simulated time since the layout was last disturbed.
        energy: float32 [], mean kinetic energy per node and unit of mass, units²/s².
    """

    position: jax.Array
    velocity: jax.Array
    held: jax.Array
    age: jax.Array
    energy: jax.Array


def topology(graph: Graph, cells: int | None = None) -> Topology:
    """The device arrays of `graph`.

    Args:
        cells: grid points along an edge of the mesh, 0 for all pairs; None chooses by the number of nodes.
    """
    edges, weights, mass = _links(graph)
    nudge = directions(np.random.default_rng(0), len(graph))
    nudge -= nudge.mean(axis=0)
    cells = cells_for(len(graph)) if cells is None else cells
    return Topology(
        edges=jnp.asarray(edges.T, jnp.int32),
        weights=jnp.asarray(weights, jnp.float32),
        mass=jnp.asarray(mass, jnp.float32),
        nudge=jnp.asarray(_NUDGE * nudge.T, jnp.float32),
        mesh=mesh_of(cells) if cells else None,
    )


def init(graph: Graph, seed: int, parameters: PhysicsParameters) -> State:
    """The initial state: at rest, with the positions of `start_positions`; without edges spread over a ball.

    The same seed gives the same positions, on any device.

    Args:
        seed: 0 or more.
        parameters: for the size of the layout.

    Raises:
        InputError: the graph has no nodes.
        UsageError: the seed is negative.
    """
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, not {seed}")
    if len(graph) == 0:
        raise InputError(f"{graph.name}: a graph without nodes cannot be laid out")
    random = np.random.default_rng(seed)
    edges, weights, mass = _links(graph)
    if len(edges):
        position = start_positions(edges, weights, mass, parameters, random)
    else:
        position = ball(len(graph), parameters.rest_length, random)
    position -= position.mean(axis=0)
    return at_rest(position.astype(np.float32))


def at_rest(position: npt.NDArray[np.float32]) -> State:
    """A state at rest with the positions `position`, float32 [nodes, 3], units."""
    return State(
        position=jnp.asarray(position.T),
        velocity=jnp.zeros(position.T.shape, jnp.float32),
        held=jnp.zeros(len(position), jnp.bool_),
        age=jnp.zeros((), jnp.float32),
        energy=jnp.zeros((), jnp.float32),
    )


def moved_to(old: Graph, nodes: Nodes, start: State, graph: Graph) -> State:
    """The start of `graph`, in which the nodes that `old` has, too (by id), keep their positions.

    Args:
        nodes: of `old`, in its order.
        start: of `graph`.
    """
    _, here, there = np.intersect1d(graph.ids, old.ids, assume_unique=True, return_indices=True)
    position = np.array(start.position.T)
    position[here] = np.stack([nodes[axis][there] for axis in "xyz"], axis=1)
    return at_rest(position)


def _links(graph: Graph) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Edges [edges, 2] without loops, their weights, and the masses of the nodes, as in `Topology`."""
    edges = graph.edge_indices()
    linking = edges[:, 0] != edges[:, 1]
    edges = edges[linking]
    weights = graph.edges["weight"][linking].astype(np.float64)
    if len(weights):
        weights /= weights.mean()
        degree = np.maximum(_sums(edges, weights, len(graph)), 1.0)
        weights /= np.minimum(degree[edges[:, 0]], degree[edges[:, 1]]) ** _BLUNTING
        weights /= weights.mean()
    return edges, weights, np.maximum(_sums(edges, weights, len(graph)), 1.0)


def _sums(edges: npt.NDArray[np.int32], weights: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Sum of the edge weights of each node, float64 [nodes]."""
    sums: npt.NDArray[np.float64] = np.bincount(edges.ravel(), np.repeat(weights, 2), minlength=count).astype(
        np.float64
    )
    return sums
