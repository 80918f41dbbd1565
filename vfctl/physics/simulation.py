"""Steps of the layout, and when it is at rest. Pure and jitted; only shapes decide what is compiled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp

from vfctl.physics.forces import accelerations
from vfctl.physics.mesh import computed_once
from vfctl.physics.parameters import PhysicsParameters
from vfctl.physics.state import State, Topology

MAX_STEPS_PER_CALL: Final = 64
"""Steps in one call of `advance`: so many that the call itself costs nothing, and 10 s of simulation are several
calls."""

_TINY: Final = 1e-30
"""Smallest divisor in place of a length that may be 0."""


class Frame(NamedTuple):
    """The result of one call that is copied from the device.

    Attributes:
        motion: float32 [nodes, 6], x y z in units, vx vy vz in units/s.
        energies: float32 [MAX_STEPS_PER_CALL], `State.energy` after each step; as many as there were steps.
    """

    motion: jax.Array
    energies: jax.Array


@jax.jit
def step(topology: Topology, parameters: PhysicsParameters, state: State) -> State:
    """The state `parameters.dt` later: semi-implicit Euler, with limited force and velocity.

    Dry friction that grows with the age ends a layout. By viscous damping alone a tree unfolds for minutes. Dry
    friction stops slow nodes for good, after a time that hardly depends on the graph.
    """
    dt = parameters.dt
    acceleration = computed_once(accelerations(topology, parameters, state.position))
    acceleration = _limited(acceleration, parameters.max_force)
    # Implicit damping can only slow motion down, however strong it is.
    velocity = (state.velocity + dt * acceleration) / (1.0 + dt * parameters.damping)
    velocity = _limited(velocity, parameters.max_velocity, dt * parameters.cooling * state.age)
    velocity = jnp.where(state.held[None, :], 0.0, velocity)
    return State(
        position=state.position + dt * velocity,
        velocity=velocity,
        held=state.held,
        age=state.age + dt,
        energy=0.5 * jnp.sum(velocity * velocity) / velocity.shape[1],
    )


@jax.jit
def advance(topology: Topology, parameters: PhysicsParameters, state: State, count: jax.Array) -> tuple[State, Frame]:
    """Several steps in one call.

    Args:
        count: int32 [], 0 to MAX_STEPS_PER_CALL; any count is the same compilation.
    """

    def body(index: jax.Array, carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, energies = carry
        state = step(topology, parameters, state)
        return state, energies.at[index].set(state.energy)

    energies = jnp.zeros(MAX_STEPS_PER_CALL, jnp.float32)
    state, energies = jax.lax.fori_loop(0, count, body, (state, energies))
    return state, Frame(jnp.concatenate([state.position, state.velocity]).T, energies)


@jax.jit
def place(state: State, placed: jax.Array, target: jax.Array, held: jax.Array) -> State:
    """Move nodes, set their velocity to 0, and set which nodes are held. The age starts at 0 again.

    Args:
        placed: bool [nodes], the nodes to move.
        target: float32 [nodes, 3], new positions of the placed nodes, units.
        held: bool [nodes], the nodes that are held from now on; all others are free.
    """
    return State(
        position=jnp.where(placed[None, :], target.T, state.position),
        velocity=jnp.where(placed[None, :], 0.0, state.velocity),
        held=held,
        age=jnp.zeros_like(state.age),
        energy=state.energy,
    )


def _limited(vectors: jax.Array, limit: jax.Array | float, loss: jax.Array | float = 0.0) -> jax.Array:
    """Limit the length of `vectors` [3, nodes], and then shorten each by `loss`, down to 0.

    A vector that is not finite becomes 0, so that one bad value does not spread.
    """
    vectors = jnp.where(jnp.isfinite(vectors), vectors, 0.0)
    # Scaled by the largest component first, because squares of large float32 numbers overflow.
    x, y, z = jnp.abs(vectors)
    scale = jnp.maximum(jnp.maximum(jnp.maximum(x, y), z), limit)[None, :]
    scaled = vectors / scale
    length = _lengths(scaled)
    wanted = jnp.maximum(jnp.minimum(scale * length, limit) - loss, 0.0)
    return scaled * (wanted / jnp.maximum(length, _TINY))


def _lengths(vectors: jax.Array) -> jax.Array:
    """Lengths of `vectors` [3, nodes], [1, nodes]. By planes, because XLA's CPU code is slow at sums over axis 0."""
    x, y, z = vectors
    length = computed_once(jnp.sqrt(x * x + y * y + z * z))
    return length[None, :]


QUIET_STEPS: Final = 30
"""Half a second at 60 Hz. A layout that starts to move exceeds the threshold much sooner."""

_REST_SPEED: Final = 0.01
"""rest lengths/s, root mean square over the nodes. In a view of the whole layout this is less than a pixel a second."""


@dataclass(frozen=True, slots=True)
class Settling:
    """How long a layout has been quiet. `Settling()` is a layout that was just disturbed.

    Attributes:
        quiet_steps: number of last steps in a row with an energy below the threshold.
    """

    quiet_steps: int = 0

    @property
    def settled(self) -> bool:
        """True once the layout has been quiet for QUIET_STEPS in a row."""
        return self.quiet_steps >= QUIET_STEPS

    def after(self, energy: float, threshold: float) -> Settling:
        """The settling after one more step. An energy that is not finite counts as motion.

        Args:
            energy: mean kinetic energy per node and unit of mass, units²/s².
            threshold: below it a step is quiet, see `rest_energy`.
        """
        return Settling(self.quiet_steps + 1 if math.isfinite(energy) and energy < threshold else 0)


def rest_energy(rest_length: float) -> float:
    """The energy below which a layout is quiet, for edges of `rest_length` units; in units²/s²."""
    return 0.5 * (_REST_SPEED * rest_length) ** 2
