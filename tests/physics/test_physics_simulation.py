import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.errors import InputError, UsageError
from vfctl.graph import build_graph
from vfctl.physics import DEFAULT_PARAMETERS, PARAMETERS, PhysicsParameters
from vfctl.physics.simulation import advance, place, step
from vfctl.physics.state import State, init, topology


def graph_of(count, edges=()):
    return build_graph("test", [str(index) for index in range(count)], [(a, b, 1.0) for a, b in edges])


def chain(count):
    return graph_of(count, [(index, index + 1) for index in range(count - 1)])


def on_device(parameters):
    return jax.tree.map(jnp.float32, parameters)


DEFAULTS = on_device(PhysicsParameters())

# Few shapes, since each compiles: one node, no edges, one edge, two parts, a hub.
SHAPES = {
    "one": graph_of(1),
    "unlinked": graph_of(7),
    "pair": graph_of(2, [(0, 1)]),
    "parts": graph_of(12, [(a, a + 1) for a in range(11) if a != 5]),
    "hub": graph_of(40, [(0, leaf) for leaf in range(1, 40)]),
}
anywhere_allowed = st.builds(
    PhysicsParameters,
    **{
        name: st.sampled_from([info.minimum, info.default, info.maximum]) | st.floats(info.minimum, info.maximum)
        for name, info in PARAMETERS.items()
    },
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    parameters=anywhere_allowed,
    spread=st.sampled_from([0.0, 1e-20, 1e-3, 10.0, 1e6]),
    seed=st.integers(0, 9),
)
def test_whatever_is_allowed_stays_finite_and_within_the_limits(shape, parameters, spread, seed):
    graph = SHAPES[shape]
    state = init(graph, seed, DEFAULT_PARAMETERS)
    state = state._replace(position=state.position * jnp.float32(spread))
    state, frame = advance(topology(graph), on_device(parameters.validated()), state, np.int32(50))
    assert np.isfinite(frame.motion).all()
    assert np.isfinite(frame.energies).all()
    speeds = np.linalg.norm(state.velocity, axis=0)
    assert (speeds <= parameters.max_velocity * 1.00001).all()
    assert frame.energies.max() <= 0.5001 * parameters.max_velocity**2


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 3e38])
def test_one_bad_velocity_poisons_nothing(bad):
    graph = chain(12)
    state = init(graph, 0, DEFAULT_PARAMETERS)
    state = state._replace(velocity=state.velocity.at[1, 3].set(bad))
    after = step(topology(graph), DEFAULTS, state)
    for array in after:
        assert np.isfinite(array).all()
    undisturbed = step(topology(graph), DEFAULTS, init(graph, 0, DEFAULT_PARAMETERS))
    others = np.arange(12) != 3
    np.testing.assert_array_equal(after.position[:, others], undisturbed.position[:, others])


def test_a_hub_of_five_thousand_edges_calms_down():
    """Without a mass that goes with the degree the hub would be flung to and fro at the velocity limit for ever."""
    graph = graph_of(5001, [(0, leaf) for leaf in range(1, 5001)])
    state, frame = advance(topology(graph), DEFAULTS, init(graph, 0, DEFAULT_PARAMETERS), np.int32(60))
    energies = np.asarray(frame.energies[:60])
    assert np.isfinite(frame.motion).all()
    assert energies[-1] < 0.2 * energies.max()
    assert np.linalg.norm(state.velocity[:, 0]) < 0.25 * PhysicsParameters().max_velocity


def test_the_energy_is_the_mean_over_the_nodes():
    state, frame = advance(topology(chain(12)), DEFAULTS, init(chain(12), 0, DEFAULT_PARAMETERS), np.int32(5))
    assert state.energy == pytest.approx(0.5 * (np.asarray(state.velocity) ** 2).sum() / 12, rel=1e-5)
    assert frame.energies[4] == state.energy
    assert not np.asarray(frame.energies[5:]).any()


def test_many_steps_at_once_are_as_many_single_ones():
    world, state = topology(chain(12)), init(chain(12), 0, DEFAULT_PARAMETERS)
    together, frame = advance(world, DEFAULTS, state, np.int32(7))
    for _ in range(7):
        state = step(world, DEFAULTS, state)
    np.testing.assert_allclose(together.position, state.position, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(frame.motion, np.vstack([together.position, together.velocity]).T)


def test_one_step_is_semi_implicit_euler():
    """A lone node on a spring to the centre: new velocity first, then the new position from it."""
    graph = graph_of(1)
    parameters = PhysicsParameters(damping=2.0, dt=0.01, center_gravity_k=4.0, cooling=0.0)
    state = init(graph, 0, DEFAULT_PARAMETERS)._replace(position=jnp.asarray([[3.0], [0.0], [0.0]]))
    after = step(topology(graph), on_device(parameters), state)
    speed = -0.01 * 4.0 * 3.0 / (1 + 0.01 * 2.0)
    np.testing.assert_allclose(after.velocity, [[speed], [0], [0]], rtol=1e-5)
    np.testing.assert_allclose(after.position, [[3.0 + 0.01 * speed], [0], [0]], rtol=1e-6)


@pytest.mark.parametrize(("limit", "speed"), [({"max_force": 5.0}, 0.08), ({"max_velocity": 0.1}, 0.1)])
def test_the_limits_limit(limit, speed):
    graph = graph_of(1)
    parameters = PhysicsParameters(damping=0.0, center_gravity_k=100.0, cooling=0.0).validated(**limit)
    state = init(graph, 0, DEFAULT_PARAMETERS)._replace(position=jnp.asarray([[30.0], [40.0], [0.0]]))
    after = step(topology(graph), on_device(parameters), state)
    np.testing.assert_allclose(after.velocity, [[-0.6 * speed], [-0.8 * speed], [0]], rtol=1e-5)


def test_friction_grows_with_age_and_stops_what_is_slow():
    graph = chain(12)
    state = init(graph, 0, DEFAULT_PARAMETERS)
    fresh = step(topology(graph), DEFAULTS, state)
    old = step(topology(graph), DEFAULTS, state._replace(age=jnp.float32(1e6)))
    assert fresh.energy > 0
    assert old.energy == 0
    np.testing.assert_array_equal(old.position, state.position)


def test_held_nodes_stay_and_the_others_move():
    graph = chain(12)
    held = np.arange(12) == 3
    target = np.where(held[:, None], np.float32([[50, -60, 70]]), np.float32(0))
    state = place(init(graph, 0, DEFAULT_PARAMETERS)._replace(age=jnp.float32(9)), held, target, held)
    assert state.age == 0
    before = np.asarray(state.position)
    state, _ = advance(topology(graph), DEFAULTS, state, np.int32(20))
    assert state.position[:, 3].tolist() == [50, -60, 70]
    assert state.velocity[:, 3].tolist() == [0, 0, 0]
    assert (np.abs(np.asarray(state.position) - before)[:, ~held].max(axis=0) > 0.1).all()


def test_nodes_dropped_on_one_spot_part_again():
    graph = graph_of(7)
    state = init(graph, 0, DEFAULT_PARAMETERS)
    everyone, nobody = np.ones(7, np.bool_), np.zeros(7, np.bool_)
    state = place(state, everyone, np.full((7, 3), 4, np.float32), nobody)
    for _ in range(4):
        state, _ = advance(topology(graph), DEFAULTS, state, np.int32(50))
    position = np.asarray(state.position).T
    distances = np.linalg.norm(position[:, None] - position[None], axis=2)[~np.eye(7, dtype=bool)]
    assert distances.min() > 5.0


def test_nothing_compiles_again_for_other_values():
    graph = chain(12)
    world, state = topology(graph), init(graph, 0, DEFAULT_PARAMETERS)
    state = step(world, DEFAULTS, state)
    state, _ = advance(world, DEFAULTS, state, np.int32(2))
    nobody, target = np.zeros(12, np.bool_), np.zeros((12, 3), np.float32)
    state = place(state, nobody, target, nobody)
    sizes = step._cache_size(), advance._cache_size(), place._cache_size()
    changed = on_device(PhysicsParameters().validated(dt=0.01, damping=1, spring_k=3))
    state = place(state, ~nobody, target + np.float32(1), np.arange(12) == 1)
    state, _ = advance(world, changed, step(world, changed, state), np.int32(9))
    assert (step._cache_size(), advance._cache_size(), place._cache_size()) == sizes


def test_the_seed_decides_where_nodes_start():
    graph = graph_of(500)
    first, again, other = (init(graph, seed, DEFAULT_PARAMETERS).position for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("count", [1, 100, 20_000])
def test_nodes_start_apart_at_rest_each_with_its_share_of_room(count):
    state = init(graph_of(count), 0, DEFAULT_PARAMETERS)
    assert isinstance(state, State)
    assert len(np.unique(state.position, axis=1).T) == count
    assert not np.asarray(state.velocity).any()
    assert not np.asarray(state.held).any()
    np.testing.assert_allclose(np.mean(state.position, axis=1), 0.0, atol=1e-3)
    if count > 1:
        radius = np.sqrt(5 / 3 * (np.asarray(state.position) ** 2).sum(axis=0).mean())
        assert radius == pytest.approx(10.0 * (count * 3 / (4 * np.pi)) ** (1 / 3), rel=0.1)


def test_a_negative_seed_is_refused():
    with pytest.raises(UsageError, match="not -1"):
        init(graph_of(3), -1, DEFAULT_PARAMETERS)


def test_a_graph_without_nodes_is_refused():
    with pytest.raises(InputError, match="without nodes"):
        init(graph_of(0), 0, DEFAULT_PARAMETERS)
