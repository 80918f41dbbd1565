"""The tested server before the run: its name and address, and what scripts must know of its graph."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from vfctl.client.connection import connect
from vfctl.client.url import with_options
from vfctl.errors import PeerError, UsageError
from vfctl.graph import Graph, from_full_graph
from vfctl.loadtest.generator.behaviour import ScriptContext
from vfctl.loadtest.generator.plan import Target
from vfctl.loadtest.scenario.roles import Dragger, FilteredViewer, Recorded, Role
from vfctl.loadtest.scenario.traffic import load_traffic
from vfctl.protocol import Filter, FullGraph, Nodes
from vfctl.stream.filters import FilterIndex

DEFAULT_URL: Final = "ws://127.0.0.1:8765/ws"
PROBE_TIMEOUT_S: Final = 3.0
GRAPH_TIMEOUT_S: Final = 30.0
DRAWS_PER_FILTER: Final = 200
"""Attempts to draw a new filter that fits. If all fail, there are no more such filters."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The server that answers at a URL.

    Attributes:
        is_vfctl: whether its /healthz says so.
        name: a description, such as `vfctl 0.1.0, 316 nodes`.
    """

    is_vfctl: bool
    name: str


def resolve(url: str, encoding: str | None) -> tuple[str, Target]:
    """The full URL, with timed=1 and the encoding, and its address.

    Raises:
        UsageError: it is no ws:// URL.
        PeerError: the host name has no address.
    """
    full = with_options(url, encoding=encoding, timed=True)
    parts = urlsplit(full)
    if parts.scheme != "ws":
        raise UsageError(f"{url}: the load generator speaks ws:// only, not TLS", hint="test behind the TLS proxy")
    port = parts.port or 80
    try:
        family, _, _, _, address = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise PeerError(f"{url}: {error.strerror}") from None
    resource = parts.path + (f"?{parts.query}" if parts.query else "")
    return full, Target(family, tuple(address), parts.netloc.rpartition("@")[2], resource)


def identify(url: str) -> Peer:
    """Ask /healthz which server answers at this WebSocket URL.

    Raises:
        PeerError: no server listens there, or none answers in time.
    """
    parts = urlsplit(with_options(url))
    scheme = "https" if parts.scheme == "wss" else "http"
    healthz = f"{scheme}://{parts.netloc.rpartition('@')[2]}/healthz"
    # Proxies of the environment are ignored, because the clients connect directly, too.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(healthz, timeout=PROBE_TIMEOUT_S) as response:
            health: Any = json.loads(response.read(65536))
    except urllib.error.HTTPError:
        return Peer(False, "a server that is not vfctl")
    except urllib.error.URLError as error:
        raise PeerError(
            f"nothing answers at {url}: {_cause(error)}", hint="start one with `vfctl serve`, or leave the URL out"
        ) from None
    except TimeoutError:
        raise PeerError(f"{url} accepts the connection but does not answer within {PROBE_TIMEOUT_S:g} s") from None
    except (ValueError, OSError):
        return Peer(False, "a server that is not vfctl")
    if not isinstance(health, dict) or health.get("name") != "vfctl":
        return Peer(False, "a server that is not vfctl")
    return Peer(True, f"vfctl {health.get('version')}, {health.get('nodes')} nodes")


def _cause(error: urllib.error.URLError) -> str:
    reason = error.reason
    return (reason.strerror or str(reason)).lower() if isinstance(reason, OSError) else str(reason)


def fetch_context(url: str, roles: Sequence[Role]) -> ScriptContext:
    """Fetch what the scripts of these roles need: the served graph, filters for it, and recorded traffic.

    Raises:
        InputError, CaptureError: a recording cannot be read, or has no messages of clients.
        PeerError: the server does not send a FullGraph.
        UsageError: the graph is empty, or no filter selects as many nodes as a role asks for.
    """
    traffic = tuple(load_traffic(role.traffic) if isinstance(role, Recorded) else None for role in roles)
    if not any(isinstance(role, Dragger | FilteredViewer) for role in roles):
        return ScriptContext(traffic=traffic)
    try:
        graph, nodes = asyncio.run(asyncio.wait_for(_fetch_graph(url), GRAPH_TIMEOUT_S))
    except TimeoutError:
        raise PeerError(
            f"{url} sends no FullGraph within {GRAPH_TIMEOUT_S:g} s; draggers and filtered viewers need the graph"
        ) from None
    if not len(graph):
        raise UsageError("the served graph is empty; there is nothing to drag or to filter")
    position = np.stack([nodes["x"], nodes["y"], nodes["z"]], axis=1)
    return ScriptContext(
        node_ids=tuple(graph.ids.tolist()),
        radius=float(np.linalg.norm(position, axis=1).mean()) or 1.0,
        filters=tuple(
            draw_filters(graph, role.filters, role.nodes, random.Random(0)) if isinstance(role, FilteredViewer) else ()
            for role in roles
        ),
        traffic=traffic,
    )


async def _fetch_graph(url: str) -> tuple[Graph, Nodes]:
    async with connect(url, metadata=True) as connection:
        async for message in connection:
            if isinstance(message, FullGraph):
                return from_full_graph(message, url), message.nodes
    raise PeerError(f"{url} closed the connection before it sent a FullGraph")


def draw_filters(graph: Graph, count: int, nodes: tuple[int, int], draw: random.Random) -> tuple[Filter, ...]:
    """Draw up to `count` different filters that each select a number of nodes in the closed range `nodes`.

    Raises:
        UsageError: no such filter was found.
    """
    index = FilterIndex(graph)
    found: dict[Filter, None] = {}
    candidates = _candidates(graph, draw)
    for _ in range(count):
        for criteria in (next(candidates) for _ in range(DRAWS_PER_FILTER)):
            if criteria not in found and nodes[0] <= index.count(criteria) <= nodes[1]:
                found[criteria] = None
                break
        else:
            break
    if not found:
        raise UsageError(
            f"{graph.name}: no filter was found that selects {nodes[0]} to {nodes[1]} of {len(graph)} nodes",
            hint="give the role other `nodes`, for example nodes = [1, 1000]",
        )
    return tuple(found)


def _candidates(graph: Graph, draw: random.Random) -> Iterator[Filter]:
    """Random filters as users set them: some kinds, a range of depths, some clusters, a part of a label."""
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
