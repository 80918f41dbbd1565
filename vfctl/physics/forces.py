"""The forces between nodes. Pure functions of device arrays, traced into the step.

All vectors are [3, nodes], one plane per axis, because XLA's CPU code is several times slower on [nodes, 3].
"""

from __future__ import annotations

from typing import Final

import jax
import jax.numpy as jnp

from vfctl.physics.mesh import computed_once, mesh_repulsion
from vfctl.physics.parameters import PhysicsParameters
from vfctl.physics.state import Topology

SOFTENING: Final = 0.3
"""units per rest length. Nodes that are nearer than this repel each other less, so the force is bounded."""

_PAIRS_PER_BLOCK: Final = 2**20
"""Pairs computed at a time. It bounds the memory for the repulsion of n² pairs."""

_TINY: Final = 1e-12
"""units². It keeps the direction of an edge of length 0 finite."""


def accelerations(topology: Topology, parameters: PhysicsParameters, position: jax.Array) -> jax.Array:
    """Acceleration of each node by all forces, without limits, float32 [3, nodes], units/s²."""
    softening = SOFTENING * parameters.rest_length
    if topology.mesh is None:
        pushes = repulsion(position, parameters.repel_k, softening)
    else:
        pushes = mesh_repulsion(topology.mesh, position, parameters.repel_k, softening)
    pulls = springs(topology, parameters.spring_k, parameters.rest_length, position)
    # Like gravity, the pull to the centre is proportional to the mass, so it accelerates all nodes alike.
    pushes, pulls = computed_once((pushes, pulls))
    return (pushes + pulls) / topology.mass[None, :] - parameters.center_gravity_k * position + topology.nudge


def springs(topology: Topology, spring_k: float, rest_length: float, position: jax.Array) -> jax.Array:
    """Pull of the edges on their ends, towards the rest length, float32 [3, nodes], units/s² times mass."""
    source, target = topology.edges
    span = computed_once(jnp.stack([plane[target] - plane[source] for plane in position]))
    x, y, z = span
    strength = spring_k * topology.weights * (1.0 - rest_length * jax.lax.rsqrt(x * x + y * y + z * z + _TINY))
    pulls = computed_once(strength[None, :] * span)
    zeros = jnp.zeros(position.shape[1], jnp.float32)
    return jnp.stack([zeros.at[source].add(pull).at[target].add(-pull) for pull in pulls])


def repulsion(position: jax.Array, repel_k: float, softening: float) -> jax.Array:
    """Push of every node on every other, float32 [3, nodes], units/s² times mass. All pairs, a block of rows at a time.

    The force at distance r is `repel_k · r / (r² + softening²)`, so nodes at one position do not push each other. It
    falls as 1/r, because 1/r² leaves long branches of trees folded (a tree of 316 nodes has stress 0.17, not 0.12).

    Args:
        position: float32 [3, nodes], units.
        softening: units.
    """
    count = position.shape[1]
    rows = max(1, min(count, _PAIRS_PER_BLOCK // count))
    blocks = -(-count // rows)
    padded = jnp.pad(position, ((0, 0), (0, blocks * rows - count)))

    def push(block: jax.Array) -> jax.Array:
        away = [block[axis, :, None] - position[axis, None, :] for axis in range(3)]
        squared = sum((plane * plane for plane in away), softening**2)
        return jnp.stack([jnp.sum(plane / squared, axis=1) for plane in away])

    pushes: jax.Array = jax.lax.map(push, padded.reshape(3, blocks, rows).transpose(1, 0, 2))
    return repel_k * pushes.transpose(1, 0, 2).reshape(3, -1)[:, :count]
