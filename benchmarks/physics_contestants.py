"""The layouts that physics.py compares, one a process: python physics_contestants.py NAME EDGES NODES POSITIONS [SEED]

EDGES is int32 [edges, 2], POSITIONS (written) float32 [nodes, 3]. Prints one JSON object: `seconds` from the graph in
memory to the layout at rest, `steps` and `step_ms` where there are steps, `compile_s` apart, `finished`.
All settings are the libraries' defaults.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable

import numpy as np

MAX_STEPS = 5_000
STEPS_A_CALL = 30  # as many as must be quiet


def ours(edges: np.ndarray, count: int, cells: int | None = None) -> tuple[np.ndarray, dict]:
    import jax

    from vfctl.graph import build_graph
    from vfctl.physics import DEFAULT_PARAMETERS
    from vfctl.physics.device import keep_compiled
    from vfctl.physics.simulation import Settling, advance, rest_energy
    from vfctl.physics.state import init, topology

    keep_compiled()
    graph = build_graph("benchmark", [""] * count, np.column_stack([edges, np.ones(len(edges))]))
    parameters = jax.tree.map(np.float32, DEFAULT_PARAMETERS)
    jax.numpy.zeros(1).block_until_ready()
    started = time.perf_counter()
    world, state = topology(graph, cells), init(graph, 0, DEFAULT_PARAMETERS)
    start_s = time.perf_counter() - started
    started = time.perf_counter()
    compiled = advance.lower(world, parameters, state, np.int32(0)).compile()
    compile_s = time.perf_counter() - started
    settling, steps = Settling(), 0
    started = time.perf_counter()
    while not settling.settled and steps < MAX_STEPS:
        state, frame = compiled(world, parameters, state, np.int32(STEPS_A_CALL))
        steps += STEPS_A_CALL
        for energy in np.asarray(frame.energies)[:STEPS_A_CALL].tolist():
            settling = settling.after(energy, rest_energy(DEFAULT_PARAMETERS.rest_length))
    step_s = time.perf_counter() - started
    return np.asarray(frame.motion)[:, :3], {
        "seconds": start_s + step_s,
        "steps": steps,
        "step_ms": 1000 * step_s / steps,
        "compile_s": compile_s,
        "start_s": start_s,
        "finished": settling.settled,
    }


def all_pairs(edges: np.ndarray, count: int) -> tuple[np.ndarray, dict]:
    return ours(edges, count, cells=0)


def mesh(edges: np.ndarray, count: int) -> tuple[np.ndarray, dict]:
    return ours(edges, count, cells=16)


def igraph_fr(edges: np.ndarray, count: int) -> tuple[np.ndarray, dict]:
    steps = 500
    found, seconds = _igraph(edges, count, lambda graph: graph.layout_fruchterman_reingold(dim=3, niter=steps))
    return found, {"seconds": seconds, "steps": steps, "step_ms": 1000 * seconds / steps, "finished": True}


def igraph_drl(edges: np.ndarray, count: int) -> tuple[np.ndarray, dict]:
    found, seconds = _igraph(edges, count, lambda graph: graph.layout_drl(dim=3))
    return found, {"seconds": seconds, "finished": True}


def _igraph(edges: np.ndarray, count: int, layout: Callable) -> tuple[np.ndarray, float]:
    import igraph

    random.seed(1)  # which igraph draws from
    graph = igraph.Graph(n=count, edges=edges.tolist())
    started = time.perf_counter()
    found = layout(graph)
    return np.array(found.coords), time.perf_counter() - started


def networkx(edges: np.ndarray, count: int) -> tuple[np.ndarray, dict]:
    import networkx

    graph = networkx.Graph(edges.tolist())
    graph.add_nodes_from(range(count))
    steps = 50
    started = time.perf_counter()
    found = networkx.spring_layout(graph, dim=3, seed=1, iterations=steps)
    seconds = time.perf_counter() - started
    position = np.array([found[node] for node in range(count)])
    return position, {"seconds": seconds, "steps": steps, "step_ms": 1000 * seconds / steps, "finished": True}


CONTESTANTS = {
    "ours": ours,
    "all-pairs": all_pairs,
    "mesh": mesh,
    "igraph-fr": igraph_fr,
    "igraph-drl": igraph_drl,
    "networkx": networkx,
}

if __name__ == "__main__":
    name, edges_file, count, positions_file = sys.argv[1:]
    position, told = CONTESTANTS[name](np.fromfile(edges_file, np.int32).reshape(-1, 2), int(count))
    position.astype(np.float32).tofile(positions_file)
    print(json.dumps(told))
