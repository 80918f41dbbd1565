"""How fast is a layout, and how good, beside those of d3-force-3d, igraph and networkx?

    python benchmarks/physics.py [--nodes 316 1000 10000 100000] [--graphs scale-free tree] [--seed 1]

Every contestant gets the same graph, three dimensions, its own defaults, a process of its own and one core, which all
share. What would take longer than the limit, going by a smaller graph, is not started (`> limit`); d3 then still does
as many ticks as fit into a tenth of it, for the time of a tick. Prints a table in Markdown.

Columns: ms a step (d3: the median; others: the mean); steps and seconds until the layout is at rest, by the
contestant's own rule, everything but compiling; what compiling took, and once more with the cache; then the quality:

- stress: Σ (a·|x_i - x_j| / d_ij - 1)² over pairs, divided by their number, d_ij the hops between them, a the best
  scale (0 is perfect). All pairs, of 100,000 nodes those of 300 sampled ones with all others.
- near: of the 10 nodes nearest to a node in the layout, the share that is no further from it in the graph than its
  tenth nearest there.
- spread: standard deviation of the lengths of edges, in their mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from install_peers import PEERS, PYTHON, ensure_peers, node
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from vfctl.graph.generators import generate

HERE = Path(__file__).parent
NEAREST = 10
LARGE = 20_000
SOURCES_OF_LARGE = 300  # beyond LARGE nodes; of others all nodes, since fewer leave the neighbours to chance
AT_ONCE = 500
ALL_PAIRS = ("igraph-fr", "networkx")  # whose time grows with the square of the nodes
CONTESTANTS = ("ours", "d3-force-3d", "igraph-fr", "igraph-drl", "networkx")


@dataclass(frozen=True)
class World:
    """A graph, as files for the contestants, and what the quality is measured by.

    Attributes:
        hops: int16 [sources, nodes], from each sampled node to all others.
    """

    name: str
    count: int
    edges: np.ndarray
    sources: np.ndarray
    hops: np.ndarray
    place: Path

    @classmethod
    def make(cls, generator: str, count: int, place: Path, seed: int) -> World:
        edges = generate(generator, count, seed).edge_indices().astype(np.int32)
        edges.tofile(place / "edges")
        sources = np.random.default_rng(1).permutation(count)[: SOURCES_OF_LARGE if count > LARGE else count]
        links = coo_array((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr()
        hops = np.empty((len(sources), count), np.int16)
        for first in range(0, len(sources), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            hops[some] = dijkstra(links, directed=False, unweighted=True, indices=sources[some])
        return cls(generator, count, edges, sources, hops, place)

    def quality(self, position: np.ndarray) -> dict[str, float]:
        """Stress, neighbours preserved and spread of edge lengths of a layout, float [nodes, 3]."""
        position = position.astype(np.float64)
        position += (
            1e-9 * np.ptp(position) * np.random.default_rng(0).normal(size=position.shape)
        )  # unties what coincides
        ratio_sum = ratio_squares = pairs = 0.0
        kept = []
        _, nearest = KDTree(position).query(position[self.sources], NEAREST + 1)
        for hops, source, near in zip(self.hops, self.sources, nearest, strict=True):
            others = hops > 0
            ratios = np.linalg.norm(position - position[source], axis=1)[others] / hops[others]
            ratio_sum, ratio_squares = ratio_sum + ratios.sum(), ratio_squares + (ratios**2).sum()
            pairs += len(ratios)
            far = np.partition(hops[others], NEAREST - 1)[NEAREST - 1]
            kept.append((hops[near[near != source][:NEAREST]] <= far).mean())
        lengths = np.linalg.norm(position[self.edges[:, 0]] - position[self.edges[:, 1]], axis=1)
        return {
            "stress": 1 - ratio_sum**2 / ratio_squares / pairs,
            "near": float(np.mean(kept)),
            "spread": float(lengths.std() / lengths.mean()),
        }


@dataclass
class Race:
    """What the contestants have done on graphs of one kind, to tell which would not finish on a larger one."""

    limit_s: float
    environment: dict[str, str]
    seconds: dict[str, tuple[int, float]] = field(default_factory=dict)

    def run(self, name: str, world: World) -> dict:
        """One layout: what the contestant tells, and its quality; `late` if it would not finish."""
        before, seconds = self.seconds.get(name, (world.count, 0.0))
        power = 2 if name in ALL_PAIRS else 1
        hopeless = seconds * (world.count / before) ** power > self.limit_s
        if hopeless and name != "d3-force-3d":
            return {"late": True}
        told = self._told(name, world, self.limit_s / 10 if hopeless else self.limit_s)
        if told is None or not told["finished"]:
            self.seconds[name] = world.count, self.limit_s
            return {**(told or {}), "late": True}
        self.seconds[name] = world.count, told["seconds"]
        if name == "ours":
            told["again_s"] = self._told(name, world, self.limit_s)["compile_s"]
        return told | world.quality(np.fromfile(world.place / "positions", np.float32).reshape(-1, 3))

    def _told(self, name: str, world: World, limit_s: float) -> dict | None:
        files = [world.place / "edges", str(world.count), world.place / "positions"]
        script = HERE / "physics_contestants.py"
        if name == "d3-force-3d":
            command = [node(), "--max-old-space-size=4096", PEERS / "layout.mjs", *files, str(limit_s)]
        elif name.startswith("igraph"):
            command = [PYTHON, script, name, *files]
        else:
            command = [sys.executable, script, name, *files]
        try:
            # d3 stops by itself, after the tick in which its time is up.
            patience_s = 3 * limit_s + 60 if name == "d3-force-3d" else limit_s + 10
            run = subprocess.run(command, stdout=subprocess.PIPE, timeout=patience_s, env=self.environment, check=True)
        except subprocess.TimeoutExpired:
            return None
        return json.loads(run.stdout)


HEAD = ("nodes", "graph", "layout", "ms a step", "steps", "s to rest", "compile s", "stress", "near", "spread")


def row(world: World, name: str, told: dict, limit_s: float) -> str:
    """A line of the table."""
    late = told.get("late")
    compiling = f"{told['compile_s']:.2f}, again {told['again_s']:.2f}" if "again_s" in told else ""
    cells = (
        f"{world.count:,}",
        world.name,
        name,
        f"{told['step_ms']:.3g}" if "step_ms" in told else "",
        "" if late or "steps" not in told else str(told["steps"]),
        f"> {limit_s:g}" if late else f"{told['seconds']:.3g}",
        compiling,
        *("" if late else f"{told[key]:.3f}" for key in ("stress", "near", "spread")),
    )
    return "| " + " | ".join(cells) + " |"


def show(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="layouts side by side")
    parser.add_argument("--nodes", type=int, nargs="+", default=[316, 1_000, 10_000, 100_000])
    parser.add_argument("--graphs", nargs="+", default=["scale-free", "tree"])
    parser.add_argument("--layouts", nargs="+", default=CONTESTANTS, choices=CONTESTANTS)
    parser.add_argument("--limit-s", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=1, help="of the graphs")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    ensure_peers()
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # which the contestants inherit
    results = []
    show(f"Linux {platform.release()}, Python {platform.python_version()}, jax {version('jax')}, all on one core\n")
    show("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        environment = {**os.environ, "XDG_CACHE_HOME": directory, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
        races = {generator: Race(asked.limit_s, environment) for generator in asked.graphs}
        for count in sorted(asked.nodes):
            for generator in asked.graphs:
                world = World.make(generator, count, place, asked.seed)
                for name in asked.layouts:
                    told = races[generator].run(name, world)
                    results.append({"nodes": count, "graph": generator, "layout": name} | told)
                    show(row(world, name, told, asked.limit_s))
        compare_with_all_pairs(asked.graphs, place, environment, asked.seed)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


def compare_with_all_pairs(generators: list[str], place: Path, environment: dict[str, str], seed: int) -> None:
    """Stress at 2,000 nodes, by mesh and by all pairs."""
    for generator in generators:
        world = World.make(generator, 2_000, place, seed)
        stress = {}
        for name in ("mesh", "all-pairs"):
            Race(600.0, environment)._told(name, world, 600.0)
            stress[name] = world.quality(np.fromfile(place / "positions", np.float32).reshape(-1, 3))["stress"]
        ratio = stress["mesh"] / stress["all-pairs"] - 1
        by = ", ".join(f"by {name} {value:.4f}" for name, value in stress.items())
        show(f"\n{generator}, 2,000 nodes: stress {by} ({ratio:+.1%})")


if __name__ == "__main__":
    main()
