from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vfctl.graph import build_graph
from vfctl.physics.forces import SOFTENING, accelerations, repulsion, springs
from vfctl.physics.parameters import PhysicsParameters
from vfctl.physics.state import topology

PARAMETERS = PhysicsParameters(spring_k=30.0, repel_k=400.0, rest_length=8.0, center_gravity_k=1.5)
EDGES = [(0, 1, 1.0), (1, 2, 5.0), (2, 0, 0.5), (3, 1, 2.0), (3, 1, 2.0), (4, 4, 9.0), (5, 6, 1.0)]


def graph_of(count, edges):
    return build_graph("test", [str(index) for index in range(count)], edges)


def positions(count, seed=0, spread=20.0):
    return np.random.default_rng(seed).normal(scale=spread, size=(count, 3)).astype(np.float32)


def reference_repulsion(position, repel_k, softening):
    """Pair by pair, in float64."""
    position = position.astype(np.float64)
    away = position[:, None] - position[None]
    return repel_k * (away / ((away**2).sum(axis=2, keepdims=True) + softening**2)).sum(axis=1)


def reference_weights(links):
    """Less between well-linked nodes, and 1 in the mean."""
    mean = np.mean([weight for _, _, weight in links])
    degree = Counter()
    for a, b, weight in links:
        degree.update({a: weight / mean})
        degree.update({b: weight / mean})
    weights = np.asarray([weight / max(1.0, min(degree[a], degree[b])) ** 0.6 for a, b, weight in links])
    return weights / weights.mean()


def reference_springs(graph, spring_k, rest_length, position):
    """Edge by edge, in float64."""
    position = position.astype(np.float64)
    pulls = np.zeros_like(position)
    links = [(a, b, weight) for a, b, weight in graph.edges.tolist() if a != b]
    for (a, b, _), weight in zip(links, reference_weights(links), strict=True):
        span = position[b] - position[a]
        length = np.linalg.norm(span)
        pull = spring_k * weight * (length - rest_length) * span / length
        pulls[a] += pull
        pulls[b] -= pull
    return pulls


# 1,500 rows make three blocks, the last one not full.
@pytest.mark.parametrize("count", [1, 2, 9, 1500])
def test_repulsion_is_that_of_all_pairs(count):
    position = positions(count)
    expected = reference_repulsion(position, 400.0, 3.0)
    actual = np.asarray(jax.jit(repulsion)(position.T, 400.0, 3.0)).T
    np.testing.assert_allclose(actual, expected, atol=1e-5 * max(np.abs(expected).max(), 1.0))


def test_the_accelerations_are_those_of_the_reference():
    graph = graph_of(9, EDGES)
    position = positions(9)
    world = topology(graph)
    mass = np.asarray(world.mass)[:, None]
    pushes = reference_repulsion(position, 400.0, SOFTENING * 8.0)
    pulls = reference_springs(graph, 30.0, 8.0, position)
    expected = (pushes + pulls) / mass - 1.5 * position + np.asarray(world.nudge).T
    np.testing.assert_allclose(accelerations(world, PARAMETERS, position.T).T, expected, rtol=1e-4, atol=1e-3)


def test_a_spring_at_rest_length_neither_pulls_nor_pushes():
    world = topology(graph_of(2, [(0, 1, 1.0)]))
    for distance, sign in ((8.0, 0.0), (9.0, 1.0), (7.0, -1.0)):
        position = jnp.asarray([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
        pull = np.asarray(springs(world, 30.0, 8.0, position.T)).T
        np.testing.assert_allclose(pull[0], [sign * 30.0, 0, 0], atol=1e-3)
        np.testing.assert_allclose(pull[1], -pull[0], atol=1e-6)


def test_every_force_has_its_counterforce():
    position = positions(300).T
    links = np.random.default_rng(1).integers(0, 300, (900, 2))
    world = topology(graph_of(300, [(a, b, 1.0) for a, b in links.tolist()]))
    for forces in (repulsion(jnp.asarray(position), 400.0, 3.0), springs(world, 30.0, 8.0, jnp.asarray(position))):
        total = np.abs(np.asarray(forces, np.float64).sum(axis=1))
        assert (total < 1e-5 * np.abs(forces).sum()).all()
        assert np.abs(forces).max() > 1.0


def test_without_gravity_the_momentum_stays():
    world = topology(graph_of(9, EDGES))
    free = PARAMETERS._replace(center_gravity_k=0.0)
    forces = (np.asarray(accelerations(world, free, positions(9).T).T) - world.nudge.T) * np.asarray(world.mass)[
        :, None
    ]
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-5 * np.abs(forces).sum())


def test_nodes_on_one_spot_feel_something_finite_and_not_the_same():
    world = topology(graph_of(9, EDGES))
    together = np.asarray(accelerations(world, PARAMETERS, jnp.ones((3, 9))))
    assert np.isfinite(together).all()
    assert len(np.unique(together.T, axis=0)) == 9


def test_without_edges_nothing_pulls():
    world = topology(graph_of(5, []))
    assert world.edges.shape == (2, 0)
    np.testing.assert_array_equal(springs(world, 30.0, 8.0, jnp.asarray(positions(5).T)), 0.0)


def test_loops_are_left_out_and_weights_have_a_mean_of_one():
    world = topology(graph_of(7, EDGES))
    assert world.edges.dtype == jnp.int32
    assert world.edges.T.tolist() == [[0, 1], [1, 2], [2, 0], [3, 1], [3, 1], [5, 6]]
    weights = reference_weights([edge for edge in EDGES if edge[0] != edge[1]])
    np.testing.assert_allclose(world.weights, weights, rtol=1e-6)
    assert np.mean(world.weights) == pytest.approx(1.0)
    np.testing.assert_allclose(world.mass[1], weights[[0, 1, 3, 4]].sum(), rtol=1e-6)
    assert world.mass[4] == 1.0


def test_weights_at_the_ends_of_float32_stay_finite():
    world = topology(graph_of(3, [(0, 1, 3e38), (1, 2, 1e-38), (0, 2, 3e38)]))
    for array in jax.tree.leaves(world):
        assert np.isfinite(array).all()
    assert np.isfinite(accelerations(world, PARAMETERS, positions(3).T)).all()
