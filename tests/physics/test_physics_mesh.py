import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.graph import build_graph
from vfctl.graph.generators import generate
from vfctl.physics import DEFAULT_PARAMETERS, PARAMETERS, PhysicsParameters
from vfctl.physics.forces import repulsion
from vfctl.physics.mesh import MAX_ALL_PAIRS, cells_for, mesh_of, mesh_repulsion
from vfctl.physics.simulation import advance, step
from vfctl.physics.state import init, topology

MESH = mesh_of(16)
by_mesh = jax.jit(mesh_repulsion)


def on_device(parameters):
    return jax.tree.map(jnp.float32, parameters)


def cloud(count, seed=0, spread=100.0):
    return np.random.default_rng(seed).normal(scale=spread, size=(3, count)).astype(np.float32)


def test_the_mesh_takes_over_from_all_pairs_and_grows_with_the_graph():
    assert [cells_for(count) for count in (1, MAX_ALL_PAIRS)] == [0, 0]
    sizes = [cells_for(count) for count in (MAX_ALL_PAIRS + 1, 10_000, 100_000, 2_000_000, 10**8)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 16
    assert topology(generate("tree", MAX_ALL_PAIRS, 1)).mesh is None
    assert topology(generate("tree", MAX_ALL_PAIRS + 1, 1)).mesh.far.shape == (32, 32, 17)


@pytest.mark.parametrize(("cells", "error"), [(16, 0.08), (32, 0.04)])
def test_the_mesh_pushes_like_all_pairs(cells, error):
    position = cloud(3000)
    expected = np.asarray(repulsion(position, 5.0, 3.0))
    actual = np.asarray(by_mesh(mesh_of(cells), position, 5.0, 3.0))
    wrong = np.linalg.norm(actual - expected, axis=0)
    assert np.sqrt((wrong**2).mean()) < error * np.sqrt((expected**2).sum(axis=0).mean())


@pytest.mark.parametrize("apart", [30.0, 100.0, 1000.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_nodes_push_each_other_as_the_formula_says_and_see_no_images_of_themselves(apart, axis):
    position = np.zeros((3, 2), np.float32)
    position[axis] = 7.0, 7.0 + apart
    push = np.asarray(by_mesh(MESH, position, 5.0, 3.0))
    assert push[axis, 1] == pytest.approx(5.0 * apart / (apart**2 + 9.0), rel=0.04)
    np.testing.assert_allclose(push[:, 0], -push[:, 1], atol=1e-4)
    np.testing.assert_allclose(np.delete(push, axis, axis=0), 0.0, atol=1e-4)


def test_the_softening_counts_where_it_is_as_long_as_a_cell():
    position = cloud(2000, spread=20.0)
    for softening in (1.0, 4.0):
        expected = np.asarray(repulsion(position, 5.0, softening))
        wrong = np.asarray(by_mesh(MESH, position, 5.0, softening)) - expected
        assert np.sqrt((wrong**2).mean()) < 0.1 * np.sqrt((expected**2).mean())


def test_every_push_has_its_counterpush():
    push = np.asarray(by_mesh(MESH, cloud(3000, seed=3), 5.0, 3.0), np.float64)
    assert (np.abs(push.sum(axis=1)) < 1e-4 * np.abs(push).sum(axis=1)).all()


def test_a_lone_node_and_nodes_on_one_spot_are_not_pushed():
    np.testing.assert_allclose(by_mesh(MESH, cloud(1), 5.0, 3.0), 0.0, atol=1e-4)
    # 500 nodes that push with 5: the error of float32 sums of their potential.
    np.testing.assert_allclose(by_mesh(MESH, np.full((3, 500), 12.3, np.float32), 5.0, 3.0), 0.0, atol=0.05)


def test_a_node_far_away_does_not_make_the_grid_coarse_for_all_others():
    position = cloud(3000, seed=4)
    without = np.asarray(by_mesh(MESH, position, 5.0, 3.0))
    straggler = np.float32([[1e6], [-2e5], [3e5]])
    push = np.asarray(by_mesh(MESH, np.concatenate([position, straggler], axis=1), 5.0, 3.0))
    # It pushes from the edge of the grid, nearer than it is, but only with the force of one node.
    difference = np.sqrt(((push[:, :-1] - without) ** 2).mean())
    assert difference < 0.15 * np.sqrt((without**2).mean())
    expected = 5.0 * 3000 * straggler / (straggler**2).sum()
    np.testing.assert_allclose(push[:, -1:], expected, rtol=0.01, atol=1e-5)


def test_the_grid_follows_the_nodes():
    position = cloud(2000, seed=5)
    push = np.asarray(by_mesh(MESH, position, 5.0, 0.0001))
    moved = np.asarray(by_mesh(MESH, 1000.0 * position + np.float32(777.0), 5.0, 0.0001))
    np.testing.assert_allclose(moved * 1000.0, push, atol=2e-3 * np.abs(push).max())


def stress(graph, position):
    """Normalised stress at the best scale, over the pairs with every twentieth node (all hop distances from it)."""
    from vfctl.graph.analysis import adjacency, hops_from

    ratios = []
    for source in range(0, len(graph), 20):
        hops, _ = hops_from(adjacency(len(graph), graph.edge_indices()), [source])
        far = np.linalg.norm(position - position[:, source : source + 1], axis=0)
        ratios.append((far / np.maximum(hops, 1))[hops > 0])
    ratios = np.concatenate(ratios)
    return 1 - ratios.sum() ** 2 / ((ratios**2).sum() * len(ratios))


@pytest.mark.parametrize(("generator", "within"), [("scale-free", 0.02), ("tree", 0.05)])
def test_2000_nodes_settle_with_the_stress_of_all_pairs(generator, within):
    graph = generate(generator, 2000, 1)
    reached = []
    for cells in (None, 0):  # of which the second takes 6 ms a step
        state = init(graph, 0, DEFAULT_PARAMETERS)
        world = topology(graph, cells)
        for _ in range(5):
            state, _ = advance(world, on_device(DEFAULT_PARAMETERS), state, np.int32(50))
        reached.append(stress(graph, np.asarray(state.position)))
    by_grid, by_pairs = reached
    assert by_grid == pytest.approx(by_pairs, rel=within)


# All with as many nodes and edges, so that there is one compilation: a hub of degree 5,000, parts, nothing but loops.
COUNT = 5001
LINKS = {
    "hub": [(0, leaf) for leaf in range(1, COUNT)],
    "path": [(index, index + 1) for index in range(COUNT - 1)],
    "parts": [(index, index + 1) if index % 50 else (index, (index + 2) % COUNT) for index in range(COUNT - 1)],
    "two hubs": [(leaf % 2, leaf) for leaf in range(2, COUNT)] + [(0, 1)],
}
SHAPES = {name: build_graph(name, [""] * COUNT, [(a, b, 1.0) for a, b in links]) for name, links in LINKS.items()}
anywhere_allowed = st.builds(
    PhysicsParameters,
    **{
        name: st.sampled_from([info.minimum, info.default, info.maximum]) | st.floats(info.minimum, info.maximum)
        for name, info in PARAMETERS.items()
    },
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    parameters=anywhere_allowed,
    spread=st.sampled_from([0.0, 1e-20, 1e-3, 1.0, 1e6]),
)
def test_whatever_is_allowed_stays_finite_with_the_mesh(shape, parameters, spread):
    graph = SHAPES[shape]
    state = init(graph, 0, parameters)
    assert np.isfinite(state.position).all()
    state = state._replace(position=state.position * jnp.float32(spread))
    world = topology(graph)
    assert world.mesh is not None
    for _ in range(3):  # a NaN would stay, but an Inf can come and go
        state, frame = advance(world, on_device(parameters.validated()), state, np.int32(7))
        assert np.isfinite(frame.motion).all()
        assert np.isfinite(frame.energies).all()
    assert (np.linalg.norm(state.velocity, axis=0) <= parameters.max_velocity * 1.00001).all()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_nodes_stay_finite_on_a_mesh_too(count):
    graph = build_graph("few", [""] * count, [])
    _, frame = advance(topology(graph, 16), on_device(DEFAULT_PARAMETERS), init(graph, 0, DEFAULT_PARAMETERS), 50)
    assert np.isfinite(frame.motion).all()


def test_nothing_compiles_again_while_the_layout_grows():
    graph = generate("random", 1500, 1)
    world, state = topology(graph), init(graph, 0, DEFAULT_PARAMETERS)
    state, _ = advance(world, on_device(DEFAULT_PARAMETERS), state, np.int32(1))
    compiled = advance._cache_size()
    for spread in (1e-3, 10.0, 1e3):
        spread_out = state._replace(position=state.position * jnp.float32(spread))
        advance(world, on_device(PhysicsParameters(rest_length=spread)), spread_out, np.int32(3))
    assert advance._cache_size() == compiled


@pytest.mark.parametrize("cells", [0, 16])
@pytest.mark.parametrize("platform", ["cuda", "cpu"])
def test_the_step_can_be_lowered_for_a_gpu_on_a_machine_without_one(cells, platform):
    graph = generate("tree", 1200, 1)
    arguments = topology(graph, cells), on_device(DEFAULT_PARAMETERS), init(graph, 0, DEFAULT_PARAMETERS)
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arguments)
    for function, extra in ((step, ()), (advance, (jax.ShapeDtypeStruct((), jnp.int32),))):
        exported = jax.export.export(function, platforms=[platform])(*shapes, *extra)
        assert exported.platforms == (platform,)
        assert "callback" not in exported.mlir_module()
