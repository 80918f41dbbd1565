"""The forces between nodes. Pure functions of device arrays, traced into the step.

`repulsion` is the one that costs: whatever computes it faster takes its place, with the same signature.
"""

from __future__ import annotations

from typing import Final

import jax
import jax.numpy as jnp

from vfctl.physics.parameters import PhysicsParameters
from vfctl.physics.state import Topology

SOFTENING: Final = 0.3
"""units per rest length: nearer than this two nodes repel each other less again, not without bound."""

_PAIRS_PER_BLOCK: Final = 2**20
"""Pairs at a time: bounds what the repulsion of n² pairs holds in memory."""

_TINY: Final = 1e-12
"""units²: keeps the direction of an edge without length finite."""


def accelerations(topology: Topology, parameters: PhysicsParameters, position: jax.Array) -> jax.Array:
    """What all forces together do to each node, before any limit, float32 [nodes, 3], units/s²."""
    pushes = repulsion(position, parameters.repel_k, SOFTENING * parameters.rest_length)
    pulls = springs(topology, parameters.spring_k, parameters.rest_length, position)
    # Like gravity proper the pull to the centre goes with the mass, so it accelerates all nodes alike.
    return (pushes + pulls) / topology.mass[:, None] - parameters.center_gravity_k * position + topology.nudge


def springs(topology: Topology, spring_k: float, rest_length: float, position: jax.Array) -> jax.Array:
    """Pull of the edges on their ends, towards the rest length, float32 [nodes, 3], units/s² times mass."""
    source, target = topology.edges[:, 0], topology.edges[:, 1]
    span = position[target] - position[source]
    length = jnp.sqrt(jnp.sum(span * span, axis=1, keepdims=True) + _TINY)
    pull = spring_k * topology.weights[:, None] * (1.0 - rest_length / length) * span
    return jnp.zeros_like(position).at[source].add(pull).at[target].add(-pull)


def repulsion(position: jax.Array, repel_k: float, softening: float) -> jax.Array:
    """Push of every node on every other, float32 [nodes, 3], units/s² times mass. All pairs, a block of rows at a time.

    The force over the distance r is `repel_k · r / (r² + softening²)`: nodes on one spot do not push each other at
    all. It falls off as 1/r, since 1/r² leaves long branches of trees folded (a tree of 316: stress 0.17, not 0.12).

    Args:
        position: float32 [nodes, 3], units.
        softening: units.
    """
    count = len(position)
    rows = max(1, min(count, _PAIRS_PER_BLOCK // count))
    blocks = -(-count // rows)
    padded = jnp.pad(position, ((0, blocks * rows - count), (0, 0)))
    columns = position.T

    def push(block: jax.Array) -> jax.Array:
        # One plane [rows, nodes] per axis: XLA's CPU code is several times slower on [rows, nodes, 3].
        away = [block[:, axis, None] - columns[None, axis, :] for axis in range(3)]
        squared = sum((plane * plane for plane in away), softening**2)
        return jnp.stack([jnp.sum(plane / squared, axis=1) for plane in away], axis=1)

    pushes: jax.Array = jax.lax.map(push, padded.reshape(blocks, rows, 3))
    return repel_k * pushes.reshape(-1, 3)[:count]
