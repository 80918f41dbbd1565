"""Repulsion by particle mesh: every node pushes every other, at the cost of a fast Fourier transform.

The nodes are spread over a cubic grid, the grid is convolved with the potential of one node, and the gradient of the
result is read at the nodes (Hockney & Eastwood, Computer Simulation Using Particles, 1988, chapters 5 and 6). The grid
is padded with zeros to twice its width, so that there are no periodic images. Spreading and reading both weight the
eight corners of a cell (cloud in cell), so momentum is conserved: a node does not push itself.
"""

from __future__ import annotations

import itertools
from typing import Any, Final, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

MAX_ALL_PAIRS: Final = 500
"""nodes. Up to here all pairs are computed, in at most 0.4 ms per step. The mesh takes 0.22 ms even for few nodes."""

_CELLS_ALONG: Final = ((50_000, 16), (200_000, 24), (2_400_000, 32))
"""(most nodes, grid points along an edge). Finer grids cost more than they improve, see docs/decisions/0007."""

_SPREADS: Final = 5.0
"""The grid reaches to the outermost node, but at most this many times the typical distance from the centre, because one
node that was dragged far away must not leave all others in a single cell."""

_MIN_SOFTENINGS: Final = 2.0
"""Width of a cell at least, in softening lengths. The potential is expanded in their ratio (see `_potentials`)."""

_LEAST_RATIO: Final = 0.1
"""Softening in cells at least, for the potential at r = 0: it grows without bound as cells get wide, and with it the
push between neighbouring cells. Of 0.1 to 0.8 the least has the smallest error: spreading has a softness of its own."""


_Value = TypeVar("_Value")


class Mesh(NamedTuple):
    """What the grid needs to know beforehand. The shapes say how fine it is, and decide what is compiled.

    Attributes:
        far: float32 [2m, 2m, m + 1], Fourier transform of -½ ln r² on a grid of unit cells, m points along an edge;
            0 at r = 0.
        near: float32 [2m, 2m, m + 1], the same of its correction for the softening, -½ / r².
    """

    far: jax.Array
    near: jax.Array


def computed_once(value: _Value) -> _Value:
    """`value`, which XLA computes once. Without this its CPU code computes it again for each use, because it fuses
    it."""
    barrier: Any = jax.lax.optimization_barrier
    return cast(_Value, barrier(value))


def cells_for(count: int) -> int:
    """Number of grid points along an edge for `count` nodes; 0 for all pairs."""
    if count <= MAX_ALL_PAIRS:
        return 0
    return next((cells for nodes, cells in _CELLS_ALONG if count <= nodes), _CELLS_ALONG[-1][1])


def mesh_of(cells: int) -> Mesh:
    """A grid of `cells` points along an edge, 4 or more."""
    far, near = (jnp.asarray(np.fft.rfftn(potential).real, jnp.float32) for potential in _potentials(cells))
    return Mesh(far, near)


def _potentials(cells: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The potential of a node at grid point 0, without and with the first order of the softening, [2m, 2m, 2m] each.

    The force r / (r² + s²) is the slope of -½ ln(r² + s²). With lengths in cells and e = s / cell this is
    -½ ln r² - e²/2r² up to e⁴/4r⁴, and -ln e at r = 0: so one table serves every width of the grid.
    """
    places = np.arange(2 * cells, dtype=np.float64)
    steps = np.minimum(places, 2 * cells - places) ** 2
    squared = steps[:, None, None] + steps[None, :, None] + steps[None, None, :]
    squared[0, 0, 0] = np.inf
    near = -0.5 / squared
    squared[0, 0, 0] = 1.0
    return -0.5 * np.log(squared), near


def mesh_repulsion(
    mesh: Mesh, position: jax.Array, repel_k: float | jax.Array, softening: float | jax.Array
) -> jax.Array:
    """Push of every node on every other, float32 [3, nodes], units/s² times mass, as `forces.repulsion`.

    Nodes that are less than about two cells apart push each other less than there.

    Args:
        position: float32 [3, nodes], units.
        softening: units.
    """
    points = mesh.far.shape[0] // 2
    centre, reach = _box(position)
    cell = jnp.maximum(2.0 * reach / (points - 1), _MIN_SOFTENINGS * softening)
    at = (position - centre) / cell + 0.5 * (points - 1)
    corner = jnp.clip(at.astype(jnp.int32), 0, points - 2)
    # Without the barrier XLA's CPU code computes all this again for each of the eight corners and three axes.
    index, part = computed_once(
        (
            (corner[0] * points + corner[1]) * points + corner[2],
            jnp.clip(at - corner.astype(jnp.float32), 0.0, 1.0),
        )
    )
    # One point from the edge, so that the potential is also known one point before the first one.
    density = jnp.pad(_spread(points, index, part), (1, points - 1))
    transform = jnp.fft.rfftn(density)
    ratio = softening / cell
    kernel = mesh.far + ratio**2 * mesh.near - jnp.log(jnp.maximum(ratio, _LEAST_RATIO))
    potential = jnp.fft.irfftn(transform * kernel.astype(jnp.complex64))
    pushes = repel_k / cell * computed_once(_slopes(points, potential, index, part))
    return jnp.where(_outside(position, centre, reach), _far_away(position, centre, repel_k, softening), pushes)


def _box(position: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Centre [3, 1] and half the width [] of the cube around the nodes without outliers, units."""
    middle = jnp.mean(position, axis=1, keepdims=True)
    distance = _largest(position - middle)
    # The mean of square roots, because an outlier at a thousand times the distance then adds only a hundredth.
    within = distance <= _SPREADS * jnp.mean(jnp.sqrt(distance)) ** 2
    kept = jnp.maximum(jnp.sum(within, dtype=jnp.float32), 1.0)
    centre = jnp.sum(jnp.where(within[None, :], position, 0.0), axis=1, keepdims=True) / kept
    distance = _largest(position - centre)
    return centre, jnp.minimum(jnp.max(distance), _SPREADS * jnp.mean(jnp.sqrt(distance)) ** 2)


def _largest(vectors: jax.Array) -> jax.Array:
    """The largest component of each of `vectors` [3, nodes], regardless of sign, [nodes]."""
    x, y, z = jnp.abs(vectors)
    return jnp.maximum(jnp.maximum(x, y), z)  # much faster than jnp.max over the first axis


def _corners(points: int, part: jax.Array) -> list[tuple[int, jax.Array]]:
    """The corners of a cell: offset from the first one in the flat grid, and weight, [nodes] each."""
    sides = ((1.0 - part[axis], part[axis]) for axis in range(3))
    weights = [x * y * z for x, y, z in itertools.product(*sides)]
    offsets = [(x * points + y) * points + z for x, y, z in itertools.product((0, 1), repeat=3)]
    return list(zip(offsets, weights, strict=True))


def _spread(points: int, index: jax.Array, part: jax.Array) -> jax.Array:
    """The density of nodes on the grid, each spread over the corners of its cell, [m, m, m]."""
    density = jnp.zeros(points**3, jnp.float32)
    for offset, weight in _corners(points, part):
        # Shifting the whole grid is cheaper than shifting the index of every node.
        density += jnp.roll(jnp.zeros(points**3, jnp.float32).at[index].add(weight), offset)
    return density.reshape(points, points, points)


def _slopes(points: int, potential: jax.Array, index: jax.Array, part: jax.Array) -> jax.Array:
    """The negative gradient of the potential at the nodes, [3, nodes], per cell."""
    around = potential[: points + 2, : points + 2, : points + 2]
    inner = slice(1, points + 1)
    slopes = []
    for axis in range(3):
        before, after = ([inner] * 3 for _ in range(2))
        before[axis], after[axis] = slice(points), slice(2, points + 2)
        slopes.append((0.5 * (around[tuple(before)] - around[tuple(after)])).ravel())
    # A barrier on the stacked planes, because one on each plane makes this twice as slow.
    planes = computed_once(jnp.stack(slopes))
    corners = _corners(points, part)
    return jnp.stack([sum(plane[index + offset] * weight for offset, weight in corners) for plane in planes])


def _outside(position: jax.Array, centre: jax.Array, reach: jax.Array) -> jax.Array:
    """Whether each node is outside the grid, bool [1, nodes]."""
    return (_largest(position - centre) > reach)[None, :]


def _far_away(
    position: jax.Array, centre: jax.Array, repel_k: float | jax.Array, softening: float | jax.Array
) -> jax.Array:
    """The push of all other nodes as if they were at the centre, [3, nodes]."""
    away = position - centre
    x, y, z = away
    squared = x * x + y * y + z * z + softening**2
    strength: jax.Array = repel_k * jnp.float32(position.shape[1] - 1) / squared
    return strength[None, :] * away
