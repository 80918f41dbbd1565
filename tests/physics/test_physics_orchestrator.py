import os
import subprocess
import sys
import threading

import networkx as nx
import numpy as np
import pytest

from vfctl.errors import InputError, UsageError
from vfctl.graph import build_graph
from vfctl.graph.generators import generate
from vfctl.physics import MAX_COORDINATE, PhysicsOrchestrator, PhysicsParameters
from vfctl.physics.simulation import QUIET_STEPS, advance, place
from vfctl.protocol import NODE_DTYPE, FullGraph, NodeDrag, PositionUpdate, Trailer, decode, encode

T = 1_700_000_000_000_000
TICK_US = 16_667


def graph_from(network, first_id=0):
    """A Graph with ids that are not indices, in falling order."""
    plain = build_graph(
        "test",
        [f"node {node}" for node in network],
        [(a, b, 1.0) for a, b in nx.convert_node_labels_to_integers(network).edges],
    )
    if not first_id:
        return plain
    edges = plain.edges.copy()
    edges["source"], edges["target"] = first_id - edges["source"], first_id - edges["target"]
    return type(plain)("test", first_id - plain.ids, plain.labels, plain.kinds, plain.depths, plain.clusters, edges)


@pytest.fixture(scope="module")
def small():
    return graph_from(nx.path_graph(12), first_id=1000)


def ticks(orchestrator, count, start_us=T):
    return [orchestrator.tick(start_us + index * TICK_US) for index in range(count)]


def at_rest(graph, **options):
    orchestrator = PhysicsOrchestrator(graph, **options)
    assert orchestrator.settle(3000)
    return orchestrator


def where(orchestrator, node_id):
    nodes = orchestrator.full_graph(T).nodes
    return [nodes[axis][nodes["id"] == node_id].item() for axis in "xyz"]


def test_a_tick_is_one_message_with_its_number_and_time(small):
    orchestrator = PhysicsOrchestrator(small)
    first, second = ticks(orchestrator, 2)
    assert isinstance(first, PositionUpdate)
    assert first.trailer == Trailer(1, T, 0)
    assert second.trailer == Trailer(2, T + TICK_US, 0)
    assert first.nodes.dtype == NODE_DTYPE
    assert first.nodes["id"].tolist() == list(range(1000, 988, -1))
    assert decode(encode(second)) == second


def test_updates_are_never_changed_later(small):
    orchestrator = PhysicsOrchestrator(small)
    first = orchestrator.tick(T)
    before = first.nodes.tobytes()
    ticks(orchestrator, 5)
    assert first.nodes.tobytes() == before
    with pytest.raises(ValueError, match="read-only"):
        first.nodes["x"] = 0


def test_velocities_are_those_of_the_positions(small):
    first, second = ticks(PhysicsOrchestrator(small), 2)
    for axis in "xyz":
        moved = (second.nodes[axis] - first.nodes[axis]) / PhysicsParameters().dt
        np.testing.assert_allclose(moved, second.nodes["v" + axis], atol=1e-2)
    assert np.abs(second.nodes["vx"]).max() > 1.0


def test_the_full_graph_has_everything_at_any_time(small):
    orchestrator = PhysicsOrchestrator(small)
    start = orchestrator.full_graph(T)
    assert isinstance(start, FullGraph)
    assert start.trailer == Trailer(0, T, 0)
    assert start.metadata.label == small.labels
    assert len(np.unique(start.nodes[["x", "y", "z"]])) == 12
    update = orchestrator.tick(T + 1)
    later = orchestrator.full_graph(T + 2)
    np.testing.assert_array_equal(later.nodes, update.nodes)
    assert later.trailer == Trailer(1, T + 2, 0)
    assert decode(encode(later)) == later


def test_settling_by_ticks_says_so_once_then_confirms_in_silence(small):
    orchestrator = PhysicsOrchestrator(small)
    updates = []
    while (update := orchestrator.tick(T + len(updates) * TICK_US)) is not None:
        updates.append(update)
        assert len(updates) < 1000
    assert [update.settled for update in updates[-2:]] == [False, True]
    assert not any(update.settled for update in updates[:-1])
    assert len(updates) > 2 * QUIET_STEPS
    assert orchestrator.settled
    assert orchestrator.tick(T) is None
    # Late joiners get the last state, as of now, though nothing is sent any more.
    np.testing.assert_array_equal(orchestrator.full_graph(T).nodes, updates[-1].nodes)
    confirmed = orchestrator.position_update(T + 7)
    assert confirmed.settled
    assert confirmed.trailer == Trailer(len(updates) + 2, T + 7, 0)


def test_a_start_at_rest_is_not_settled(small):
    orchestrator = PhysicsOrchestrator(small)
    assert not orchestrator.settled
    assert not any(update.settled for update in ticks(orchestrator, QUIET_STEPS))


def test_awake_on_request_for_ever(small):
    orchestrator = at_rest(small, keep_awake=True)
    assert not orchestrator.settled
    for update in ticks(orchestrator, QUIET_STEPS + 2):
        assert not update.settled


def test_one_node_and_no_edges_settle():
    assert at_rest(graph_from(nx.empty_graph(1))).settled


def test_a_drag_wakes_a_settled_layout_at_once(small):
    orchestrator = at_rest(small)
    assert orchestrator.tick(T) is None
    orchestrator.apply(NodeDrag(1000, 10.0, 20.0, 30.0))
    update = orchestrator.tick(T + 1)
    assert not update.settled
    assert not orchestrator.settled
    assert [update.nodes[axis][0] for axis in ("x", "y", "z", "vx", "vy", "vz")] == [10, 20, 30, 0, 0, 0]
    ticks(orchestrator, 5, T + 2)
    assert where(orchestrator, 1000) == [10.0, 20.0, 30.0]


def test_a_dragged_node_is_released_half_a_second_after_the_last_drag(small):
    orchestrator = at_rest(small)
    orchestrator.apply(NodeDrag(1000, 300.0, 0.0, 0.0))
    orchestrator.tick(T)
    orchestrator.tick(T + 499_999)
    assert where(orchestrator, 1000) == [300.0, 0.0, 0.0]
    orchestrator.tick(T + 500_000)
    assert where(orchestrator, 1000) != [300.0, 0.0, 0.0]


def test_a_layout_that_rests_around_a_held_node_wakes_when_it_is_released(small):
    orchestrator = at_rest(small)
    orchestrator.apply(NodeDrag(1000, 300.0, 0.0, 0.0))
    orchestrator.tick(T)
    assert orchestrator.settle(3000)
    assert orchestrator.tick(T + 400_000) is None
    assert where(orchestrator, 1000) == [300.0, 0.0, 0.0]
    update = orchestrator.tick(T + 500_000)
    assert not update.settled
    assert where(orchestrator, 1000) != [300.0, 0.0, 0.0]


def test_a_final_drag_releases_at_once_from_where_it_says(small):
    orchestrator = at_rest(small)
    orchestrator.apply(NodeDrag(1000, 300.0, 0.0, 0.0))
    orchestrator.tick(T)
    orchestrator.apply(NodeDrag(1000, 0.0, 400.0, 0.0, final=True))
    orchestrator.tick(T + 1)
    x, y, _ = where(orchestrator, 1000)
    assert abs(x) < 5
    assert 390 < y < 400


def test_of_two_draggers_the_last_one_wins(small):
    orchestrator = at_rest(small)
    orchestrator.apply(NodeDrag(1000, 1.0, 1.0, 1.0, final=True))
    orchestrator.apply(NodeDrag(1000, 2.0, 2.0, 2.0))
    orchestrator.tick(T)
    orchestrator.tick(T + 1)
    assert where(orchestrator, 1000) == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("drag", "says"),
    [
        (NodeDrag(12, 0.0, 0.0, 0.0), "no node 12"),
        (NodeDrag(12, 0.0, 0.0, 0.0, final=True), "no node 12"),
        (NodeDrag(1000, float("nan"), 0.0, 0.0), "x = nan"),
        (NodeDrag(1000, 0.0, float("inf"), 0.0), "y = inf"),
        (NodeDrag(1000, 0.0, 0.0, -1.01 * MAX_COORDINATE), "z = -1.01e"),
    ],
)
def test_a_drag_of_or_to_nothing_is_refused_and_disturbs_nothing(small, drag, says):
    orchestrator = at_rest(small)
    with pytest.raises(InputError, match=says):
        orchestrator.apply(drag)
    assert orchestrator.tick(T) is None


def test_a_node_dragged_as_far_as_can_be_comes_back_in_one_piece(small):
    orchestrator = at_rest(small)
    orchestrator.apply(NodeDrag(1000, MAX_COORDINATE, -MAX_COORDINATE, MAX_COORDINATE, final=True))
    updates = ticks(orchestrator, 60)
    assert all(np.isfinite(update.nodes[axis]).all() for update in updates for axis in ("x", "vx"))
    assert updates[-1].nodes["x"][0] < updates[0].nodes["x"][0]


def test_changed_parameters_wake_and_change_the_layout(small):
    orchestrator = at_rest(small)
    narrow = np.ptp(orchestrator.full_graph(T).nodes["x"])
    orchestrator.set_parameters(rest_length=40)
    orchestrator.set_parameters(repel_k=2000)
    assert orchestrator.parameters == PhysicsParameters(rest_length=40.0, repel_k=2000.0)
    assert not orchestrator.tick(T).settled
    assert orchestrator.settle(3000)
    assert np.ptp(orchestrator.full_graph(T).nodes["x"]) > 1.5 * narrow


def test_wrong_parameters_are_refused_and_change_nothing(small):
    orchestrator = at_rest(small)
    with pytest.raises(UsageError, match="out of range"):
        orchestrator.set_parameters(damping=3, dt=7)
    assert orchestrator.parameters == PhysicsParameters()
    assert orchestrator.tick(T) is None
    with pytest.raises(UsageError, match="out of range"):
        PhysicsOrchestrator(small, PhysicsParameters(dt=7))


def test_after_the_constructor_nothing_compiles(small):
    orchestrator = PhysicsOrchestrator(small)
    sizes = advance._cache_size(), place._cache_size()
    orchestrator.tick(T)
    orchestrator.set_parameters(damping=2)
    orchestrator.apply(NodeDrag(1000, 1.0, 2.0, 3.0))
    ticks(orchestrator, 3)
    orchestrator.settle(100)
    assert (advance._cache_size(), place._cache_size()) == sizes


def test_the_seed_decides_the_layout(small):
    first, again, other = (ticks(PhysicsOrchestrator(small, seed=seed), 20)[-1] for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_settle_gives_up_where_it_is_told_to_and_reports(small):
    orchestrator = PhysicsOrchestrator(small)
    seen = []
    assert not orchestrator.settle(70, lambda steps, energy: seen.append((steps, energy)))
    assert [steps for steps, _ in seen] == [64, 70]
    assert all(energy > 0 for _, energy in seen)
    assert not orchestrator.settled
    assert orchestrator.tick(T).trailer.sequence == 1


def scale_free(count):
    return graph_from(nx.barabasi_albert_graph(count, 2, seed=1))


def tree(count):
    return graph_from(nx.random_labeled_tree(count, seed=2))


@pytest.mark.parametrize("make", [scale_free, tree])
def test_316_nodes_come_to_rest_in_seconds_spread_out(make):
    graph = make(316)
    orchestrator = PhysicsOrchestrator(graph)
    steps = []
    assert orchestrator.settle(1200, lambda done, _: steps.append(done))
    assert orchestrator.settled
    assert orchestrator.tick(T) is None
    assert steps[-1] >= 200
    nodes = orchestrator.full_graph(T).nodes
    position = np.stack([nodes[axis] for axis in "xyz"], axis=1)
    distances = np.linalg.norm(position[:, None] - position[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    rest_length = PhysicsParameters().rest_length
    assert np.median(distances.min(axis=1)) > 0.5 * rest_length
    assert distances.min() > 0.1 * rest_length
    links = graph.edge_indices()
    linked = distances[links[:, 0], links[:, 1]]
    np.fill_diagonal(distances, 0)
    assert 0.5 * rest_length < linked.mean() < 0.5 * distances.mean()
    assert not np.array([nodes["v" + axis] for axis in "xyz"]).any(axis=0).mean() > 0.1


def test_drags_from_another_thread_are_all_heeded(small):
    orchestrator = PhysicsOrchestrator(small)
    dragging = threading.Thread(
        target=lambda: [orchestrator.apply(NodeDrag(1000, float(x), 0.0, 0.0)) for x in range(2000)]
    )
    dragging.start()
    for _ in range(50):
        assert orchestrator.tick(T) is not None
        orchestrator.full_graph(T)
    dragging.join()
    orchestrator.tick(T)
    assert where(orchestrator, 1000) == [1999.0, 0.0, 0.0]


@pytest.mark.processes
def test_nothing_leaks_to_the_terminal():
    program = (
        "from vfctl.graph import build_graph; from vfctl.physics import PhysicsOrchestrator;"
        "o = PhysicsOrchestrator(build_graph('g', ['a', 'b'], [(0, 1, 1.0)])); o.tick(1)"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


PROGRAM = (
    "import logging, sys, time; logging.basicConfig(level=logging.WARNING);"
    "from vfctl.graph.generators import generate; from vfctl.physics import PhysicsOrchestrator;"
    "start = time.perf_counter(); PhysicsOrchestrator(generate('tree', 1100, 1)).tick(1)"
)


def start_with_cache(place):
    environment = {**os.environ, "XDG_CACHE_HOME": str(place)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, timeout=60, env=environment
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.processes
def test_what_is_compiled_is_kept_between_starts_in_silence(tmp_path):
    start_with_cache(tmp_path)
    kept = {entry.name for entry in (tmp_path / "vfctl/jax").iterdir()}
    assert any("advance" in name for name in kept)
    start_with_cache(tmp_path)
    assert {entry.name for entry in (tmp_path / "vfctl/jax").iterdir()} == kept
    for entry in (tmp_path / "vfctl/jax").iterdir():
        entry.write_bytes(b"damaged")
    start_with_cache(tmp_path)


@pytest.mark.processes
def test_a_cache_that_cannot_be_written_to_stops_nothing(tmp_path):
    occupied = tmp_path / "a file"
    occupied.write_bytes(b"")
    start_with_cache(occupied)


def test_another_graph_is_laid_out_from_the_next_tick_on_where_the_last_one_was(small):
    orchestrator = at_rest(small)
    before = where(orchestrator, 995)
    larger = graph_from(nx.path_graph(20), first_id=1000)
    orchestrator.set_graph(larger)
    orchestrator.apply(NodeDrag(1000, 1.0, 2.0, 3.0))
    assert orchestrator.graph is small
    assert orchestrator.tick(T - 1).nodes["id"].tolist() == larger.ids.tolist()
    assert (orchestrator.graph, orchestrator.graph_version) == (larger, 1)
    assert not orchestrator.settled
    np.testing.assert_allclose(where(orchestrator, 995), before, atol=PhysicsParameters().max_velocity * 0.016)
    assert where(orchestrator, 1000) == [1.0, 2.0, 3.0]
    assert orchestrator.full_graph(T).metadata.label == larger.labels
    orchestrator.set_graph(graph_from(nx.path_graph(3)))
    orchestrator.apply(NodeDrag(985, 1.0, 2.0, 3.0))  # which is gone when it is heeded
    assert len(orchestrator.tick(T).nodes) == 3
    with pytest.raises(InputError, match="no node 985"):
        orchestrator.apply(NodeDrag(985, 1.0, 2.0, 3.0))


@pytest.mark.parametrize("generator", ["scale-free", "tree"])
def test_large_graphs_come_to_rest_too(generator):
    orchestrator = PhysicsOrchestrator(generate(generator, 3000, 1))
    assert orchestrator.settle(1500)


def test_a_settled_tick_computes_nothing(small, monkeypatch):
    orchestrator = at_rest(small)
    orchestrator.tick(T)
    monkeypatch.setattr("vfctl.physics.orchestrator.advance", None)
    assert ticks(orchestrator, 10) == [None] * 10


def test_it_is_idle_only_if_the_next_tick_computes_nothing(small):
    orchestrator = at_rest(small)
    assert orchestrator.idle
    orchestrator.apply(NodeDrag(995, 1.0, 2.0, 3.0))
    assert orchestrator.settled
    assert not orchestrator.idle
    orchestrator.tick(T)
    orchestrator.settle(3000)
    assert not orchestrator.idle, "it still holds the node, and lets it go in a later tick"
    orchestrator.tick(T + 1_000_000)
    orchestrator.settle(3000)
    assert orchestrator.tick(T + 1_100_000) is None
    assert orchestrator.idle
    orchestrator.set_parameters(damping=7.0)
    assert not orchestrator.idle
