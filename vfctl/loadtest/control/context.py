"""What roles need to know before the run: of the graph that is served, and of recorded traffic."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from vfctl.errors import PeerError, UsageError
from vfctl.graph import Graph, from_full_graph
from vfctl.loadtest.generator.behaviour import World
from vfctl.loadtest.scenario.roles import Dragger, FilteredViewer, Recorded, Role
from vfctl.loadtest.scenario.traffic import load_traffic
from vfctl.protocol import Filter, FullGraph, Nodes
from vfctl.stream.filters import FilterIndex

ASK_TIMEOUT_S: Final = 30.0
TRIES_PER_FILTER: Final = 200
"""Draws for one that fits, before there are taken to be no more."""


def explore(url: str, roles: Sequence[Role]) -> World:
    """Ask the server for its graph, if a role needs it, and draw what the roles draw from; read recorded traffic.

    Raises:
        InputError, CaptureError: a recording cannot be read, or has no messages of clients.
        PeerError: the server does not send a FullGraph.
        UsageError: the graph has no nodes to drag, or not a single filter that a role asks for.
    """
    traffic = tuple(load_traffic(role.traffic) if isinstance(role, Recorded) else None for role in roles)
    if not any(isinstance(role, Dragger | FilteredViewer) for role in roles):
        return World(traffic=traffic)
    try:
        graph, nodes = asyncio.run(asyncio.wait_for(_ask(url), ASK_TIMEOUT_S))
    except TimeoutError:
        raise PeerError(
            f"{url} sends no FullGraph within {ASK_TIMEOUT_S:g} s; draggers and filtered viewers need to know the graph"
        ) from None
    if not len(graph):
        raise UsageError("the served graph is empty; there is nothing to drag or to filter")
    position = np.stack([nodes["x"], nodes["y"], nodes["z"]], axis=1)
    return World(
        node_ids=tuple(graph.ids.tolist()),
        radius=float(np.linalg.norm(position, axis=1).mean()) or 1.0,
        filters=tuple(
            draw_filters(graph, role.filters, role.nodes, random.Random(0)) if isinstance(role, FilteredViewer) else ()
            for role in roles
        ),
        traffic=traffic,
    )


async def _ask(url: str) -> tuple[Graph, Nodes]:
    from vfctl.client.connection import connect

    async with connect(url, metadata=True) as connection:
        async for message in connection:
            if isinstance(message, FullGraph):
                return from_full_graph(message, url), message.nodes
    raise PeerError(f"{url} closed the connection before it sent a FullGraph")


def draw_filters(graph: Graph, count: int, nodes: tuple[int, int], draw: random.Random) -> tuple[Filter, ...]:
    """Different filters that each leave at least and at most so many nodes; fewer than asked for if there are not more.

    Raises:
        UsageError: there is not a single one.
    """
    index = FilterIndex(graph)
    found: dict[Filter, None] = {}
    candidates = _candidates(graph, draw)
    for _ in range(count):
        for criteria in (next(candidates) for _ in range(TRIES_PER_FILTER)):
            if criteria not in found and nodes[0] <= index.count(criteria) <= nodes[1]:
                found[criteria] = None
                break
        else:
            break
    if not found:
        raise UsageError(
            f"{graph.name}: no filter was found that leaves {nodes[0]} to {nodes[1]} of {len(graph)} nodes",
            hint="give the role other `nodes`, for example nodes = [1, 1000]",
        )
    return tuple(found)


def _candidates(graph: Graph, draw: random.Random) -> Iterator[Filter]:
    """Filters such as people set: some of the kinds, a range of depths, some clusters, a piece of a label."""
    kinds, depths, clusters = sorted(set(graph.kinds)), graph.depths.tolist(), sorted(set(graph.clusters.tolist()))
    while True:
        chosen = draw.sample(("kind", "depth", "cluster", "search"), draw.randint(1, 2))
        first, last = sorted(draw.choices(depths, k=2))
        label = draw.choice(graph.labels)
        length = draw.randint(1, 3)
        start = draw.randint(0, max(0, len(label) - length))
        yield Filter(
            kinds=frozenset(draw.sample(kinds, draw.randint(1, len(kinds)))) if "kind" in chosen else None,
            depth=(first, last) if "depth" in chosen else None,
            clusters=frozenset(draw.sample(clusters, draw.randint(1, len(clusters)))) if "cluster" in chosen else None,
            search=label[start : start + length] if "search" in chosen else None,
        )
