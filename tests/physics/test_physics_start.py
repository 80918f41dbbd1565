import numpy as np
import pytest

from vfctl.graph.generators import generate
from vfctl.physics import DEFAULT_PARAMETERS, PhysicsParameters
from vfctl.physics.start import start_positions


def start(count, edges, parameters=DEFAULT_PARAMETERS, seed=0):
    edges = np.asarray(edges, np.int32).reshape(-1, 2)
    mass = np.maximum(np.bincount(edges.ravel(), minlength=count), 1.0)
    return start_positions(edges, np.ones(len(edges)), mass, parameters, np.random.default_rng(seed))


def path(count, first=0):
    return [(node, node + 1) for node in range(first, first + count - 1)]


def distances(position):
    return np.linalg.norm(position[:, None] - position[None], axis=2)


@pytest.mark.parametrize("count", [30, 1200])  # the second is deep: its distances are found node by node
def test_a_path_starts_stretched_out(count):
    position = start(count, path(count))
    hops = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    far = distances(position)
    assert np.corrcoef(far.ravel(), hops.ravel())[0, 1] > 0.98
    assert far[0, -1] == pytest.approx(far.max(), rel=0.1)


def test_leaves_of_one_node_do_not_start_on_one_spot():
    position = start(200, [(0, leaf) for leaf in range(1, 200)])
    far = distances(position)
    np.fill_diagonal(far, np.inf)
    assert far.min() > 0.01 * DEFAULT_PARAMETERS.rest_length


def test_parts_and_lone_nodes_start_apart():
    position = start(300, path(100) + path(100, first=100))
    parts = [position[:100], position[100:200]]
    gap = np.linalg.norm(parts[0].mean(axis=0) - parts[1].mean(axis=0))
    assert gap > DEFAULT_PARAMETERS.rest_length
    assert len(np.unique(position, axis=0)) == 300


def test_as_a_whole_it_neither_grows_nor_shrinks():
    """The virial of all pairs, edge by edge and node by node, is 0."""
    edges = generate("scale-free", 400, 1).edge_indices()
    position = start(400, edges)
    mass = np.bincount(edges.ravel(), minlength=400)
    length = np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1)
    outwards = DEFAULT_PARAMETERS.repel_k * 400 * 399 / 2
    inwards = DEFAULT_PARAMETERS.spring_k * ((length - DEFAULT_PARAMETERS.rest_length) * length).sum()
    inwards += DEFAULT_PARAMETERS.center_gravity_k * (mass * (position**2).sum(axis=1)).sum()
    assert inwards == pytest.approx(outwards, rel=1e-6)


@pytest.mark.parametrize(
    "extreme",
    [
        PhysicsParameters(spring_k=0.0, center_gravity_k=0.0),
        PhysicsParameters(spring_k=0.0, center_gravity_k=1e-12, repel_k=1e5),
        PhysicsParameters(repel_k=0.0, rest_length=0.1),
    ],
)
def test_forces_without_a_balance_do_not_start_at_infinity(extreme):
    position = start(60, path(50), extreme)
    assert np.isfinite(position).all()
    assert np.abs(position).max() < 1e6
