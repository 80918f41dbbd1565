"""Initial positions, near to the final layout, computed in milliseconds on the host with numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from vfctl.graph.analysis import adjacency, components, hops_from
from vfctl.physics.parameters import PhysicsParameters

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_PIVOTS: Final = 32
"""Number of nodes from which distances to all others are computed. More of them do not improve layouts."""

_MAX_RADIUS: Final = 1e5
"""units. It bounds the start without gravity, where unconnected nodes have no distance of equilibrium."""

Points = npt.NDArray[np.float64]


def ball(count: int, spacing: float, random: np.random.Generator) -> Points:
    """Points spread evenly over a ball, `spacing` units apart on average, float64 [count, 3]."""
    radius = spacing * (count * 3 / (4 * np.pi)) ** (1 / 3)
    points: Points = radius * np.cbrt(random.random((count, 1))) * directions(random, count)
    return points


def directions(random: np.random.Generator, count: int) -> Points:
    """Unit vectors, float64 [count, 3]."""
    vectors: Points = random.normal(size=(count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def start_positions(
    edges: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float64],
    mass: npt.NDArray[np.float64],
    parameters: PhysicsParameters,
    random: np.random.Generator,
) -> Points:
    """First positions of linked nodes, float64 [nodes, 3], units.

    The shape follows the hop distances, and the size is that at which the forces are balanced. Positions are shifted at
    random by about the length of an edge, because nodes with the same distances would coincide. Components are spread
    over a ball.

    Args:
        edges: int32 [edges, 2], node indices, at least one.
        weights, mass: float64 [edges] and [nodes], as in `Topology`.
    """
    count = len(mass)
    spacing = parameters.rest_length
    graph = adjacency(count, edges)
    component = components(graph)
    sizes = np.bincount(component)
    middles = ball(len(sizes), spacing * (count / len(sizes)) ** (1 / 3), random)
    if sizes.max() > count / 2:
        middles[np.argmax(sizes)] = 0.0
    position = spacing * _shape(graph, component, random) + middles[component]
    growth = _balance(position, edges, weights, mass, parameters)
    position = growth * (position + spacing * random.normal(size=(count, 3)))
    return _balance(position, edges, weights, mass, parameters) * position


def _shape(graph: csr_array, component: npt.NDArray[np.int32], random: np.random.Generator) -> Points:
    """Points whose distances approximate the hop distances, [nodes, 3]; each component around the origin.

    Pivot MDS (Brandes & Pich, Eigensolver methods for progressive multidimensional scaling, 2006): classical scaling
    of the distances to a few pivots, each as far as possible from those before.
    """
    count = len(component)
    sizes = np.bincount(component)
    largest = np.flatnonzero(component == np.argmax(sizes))
    worth = sizes[component] * _PIVOTS >= count
    distances = _hops_to_pivots(graph, worth, int(largest[random.integers(len(largest))]))
    squared = distances.astype(np.float64) ** 2
    means = np.stack([np.bincount(component, column) for column in squared.T], axis=1) / sizes[:, None]
    squared = np.where(distances < 0, 0.0, squared - means[component])
    squared -= squared.mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(squared.T @ squared)
    points = np.zeros((count, 3))
    points[:, : axes.shape[1]] = squared @ axes[:, -3:]
    # Scaled so that the distances to the pivots are right on average.
    pivots = np.argmin(np.where(distances < 0, count, distances), axis=0)
    there = np.linalg.norm(points[:, None] - points[pivots], axis=2)
    ratio = np.divide(there, distances, out=np.zeros_like(there), where=distances > 0)
    points *= ratio.sum() / max((ratio**2).sum(), np.finfo(np.float64).tiny)
    return points


def _hops_to_pivots(graph: csr_array, worth: npt.NDArray[np.bool_], first: int) -> npt.NDArray[np.int32]:
    """Hop distances to each pivot, int32 [nodes, pivots]; -1 where there is no path.

    Args:
        graph: see `vfctl.graph.analysis.adjacency`.
        worth: bool [nodes], nodes of components that are large enough for a pivot of their own.
        first: the first pivot.
    """
    count = len(worth)
    pivot = first
    nearest = np.where(worth, count, 0)
    columns = []
    for _ in range(min(count, _PIVOTS)):
        hops, _ = hops_from(graph, [pivot])
        columns.append(hops)
        nearest = np.minimum(nearest, np.where(hops < 0, count, hops))
        pivot = int(np.argmax(nearest))
    return np.stack(columns, axis=1)


def _balance(
    position: Points,
    edges: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float64],
    mass: npt.NDArray[np.float64],
    parameters: PhysicsParameters,
) -> float:
    """The factor by which to enlarge a layout so that it neither grows nor shrinks as a whole.

    There the virial, the sum of force · position, is 0. It has a closed form for all three forces: quadratic in the
    size for springs, a square for gravity, and constant for a repulsion that falls as 1/r.
    """
    length = np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1)
    square = parameters.center_gravity_k * (mass * (position**2).sum(axis=1)).sum()
    square += parameters.spring_k * (weights * length**2).sum()
    linear = parameters.spring_k * parameters.rest_length * (weights * length).sum()
    constant = parameters.repel_k * len(position) * (len(position) - 1) / 2
    radius = max(float(np.sqrt((position**2).sum(axis=1).mean())), 1e-9)
    if square <= 0.0:
        return 1.0
    return min(float((linear + np.sqrt(linear**2 + 4 * square * constant)) / (2 * square)), _MAX_RADIUS / radius)
