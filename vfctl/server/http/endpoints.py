"""The gateway's HTTP endpoints: viewer, health, metrics, graph, physics, replay. Each gateway answers for all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any, Final

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vfctl import __version__
from vfctl.graph import Graph
from vfctl.graph.model import to_node_link
from vfctl.protocol import Nodes
from vfctl.server.gateway.gateway import Gateway
from vfctl.server.http.origins import Origins, own_names
from vfctl.server.http.pages import ViewerPages, not_modified
from vfctl.server.http.physics_api import MAX_BODY_BYTES, PhysicsApi
from vfctl.server.http.replay_api import ReplayApi
from vfctl.server.options import ServerOptions
from vfctl.server.scoreboard import Scoreboard

_COUNTERS: Final = {
    "connections": ("vfctl_connections", "Completed handshakes."),
    "frames": ("vfctl_frames_sent", "PositionUpdates and pending FullGraphs sent to due clients."),
    "bytes": ("vfctl_sent_bytes", "Bytes written to clients, WebSocket framing included."),
    "skipped": ("vfctl_frames_skipped", "Updates dropped by backpressure."),
    "stalled": ("vfctl_clients_stalled", "Clients disconnected because they read nothing for the stall timeout."),
    "voice_messages": ("vfctl_voice_messages_sent", "VoiceData messages sent."),
    "voice_dropped": ("vfctl_voice_messages_dropped", "VoiceData messages of clients that exceeded the rate limit."),
    "voice_skipped": ("vfctl_voice_messages_skipped", "VoiceData messages dropped by backpressure."),
    "protocol_errors": ("vfctl_protocol_errors", "Invalid client messages."),
    "refused": ("vfctl_connections_refused", "Handshakes refused because the server was full."),
}

_RECORDING: Final = {
    "messages": ("vfctl_recorded_messages", "Messages in the server's own recording."),
    "bytes": ("vfctl_recorded_bytes", "Bytes of those messages."),
    "dropped": ("vfctl_recording_dropped_messages", "Messages that the recording lacks because the disk was too slow."),
}

_GAUGES: Final = {
    "clients": ("vfctl_clients", "Open connections.", 1),
    "capacity": ("vfctl_clients_capacity", "Connections that the gateway can hold.", 1),
    "interval_us": ("vfctl_interval_seconds", "Present update interval.", 1e-6),
    "target_interval_us": ("vfctl_target_interval_seconds", "Target update interval, without overload.", 1e-6),
    "settled": ("vfctl_settled", "1 if the layout has settled.", 1),
    "tick_write_us": ("vfctl_tick_write_seconds", "Time that the writes of the last tick took.", 1e-6),
    "began_us": ("vfctl_start_time_seconds", "Unix time since when the gateway serves.", 1e-6),
}

_CHUNK_ROWS: Final = 1000
"""Rows of /graph.json that are encoded at once. The encoder keeps the interpreter lock for about a millisecond."""


class ScoreboardCollector(Collector):
    """Reads the scoreboard for each scrape."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard

    def collect(self) -> Iterator[Metric]:
        """All metrics, one sample per gateway, labelled with its number."""
        slots = [(str(number), slot.copy()) for number, slot in self._scoreboard.serving()]
        for field, (name, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=["gateway"])
            for number, slot in slots:
                counter.add_metric([number], getattr(slot, field))
            yield counter
        for field, (name, text, unit) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["gateway"])
            for number, slot in slots:
                gauge.add_metric([number], getattr(slot, field) * unit)
            yield gauge
        recording = self._scoreboard.recording
        if recording.began_us:
            for field, (name, text) in _RECORDING.items():
                yield CounterMetricFamily(name, text, getattr(recording, field))


class GraphDocument:
    """`GET /graph.json`: the node-link form of the graph in its present state.

    It is built in another thread, because that takes 0.2 s for 10,000 nodes, and once for all requests of a state.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._updates = gateway.updates
        self._building = asyncio.Lock()
        self._graph: Graph | None = None
        self._nodes: Nodes | None = None
        self._body = b""
        self._tag = ""

    async def get(self, request: web.Request) -> web.Response:
        """Answer a request; with 304 if the client has the present state."""
        async with self._building:
            graph, nodes = self._updates.graph, self._updates.scene.nodes
            assert graph is not None, "requests are accepted once there is a graph"
            if graph is not self._graph or nodes is not self._nodes:
                self._body, self._tag = await asyncio.to_thread(_graph_json, graph, nodes)
                self._graph, self._nodes = graph, nodes
            body, tag = self._body, self._tag
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if not_modified(request, tag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers, content_type="application/json", charset="utf-8")


def _graph_json(graph: Graph, nodes: Nodes) -> tuple[bytes, str]:
    document = to_node_link(graph, nodes)
    parts = []
    for key, value in document.items():
        if isinstance(value, list):
            chunks = (value[start : start + _CHUNK_ROWS] for start in range(0, len(value), _CHUNK_ROWS))
            encoded = b"[" + b",".join(orjson.dumps(chunk)[1:-1] for chunk in chunks) + b"]"
        else:
            encoded = orjson.dumps(value)
        parts.append(orjson.dumps(key) + b":" + encoded)
    body = b"{" + b",".join(parts) + b"}"
    return body, hashlib.sha256(body).hexdigest()[:16]


def health(gateway: Gateway) -> dict[str, Any]:
    """The document of `GET /healthz`."""
    scoreboard, scene = gateway.limit.scoreboard, gateway.updates.scene
    serving = scoreboard.serving()
    return {
        "name": "vfctl",
        "version": __version__,
        "status": "ok",
        "protocol": 4,
        "encodings": gateway.encoding_limit.allowed,
        "replay": gateway.is_replay,
        "nodes": len(scene.nodes),
        "gateways": len(serving),
        "clients": scoreboard.clients,
        "max_clients": min(gateway.limit.max_clients, scoreboard.capacity),
        "settled": scene.settled,
        "interval_ms": max(slot.interval_us for _, slot in serving) / 1000,
    }


def build_app(gateway: Gateway, options: ServerOptions) -> web.Application:
    """The aiohttp application of one gateway."""
    registry = CollectorRegistry()
    registry.register(ScoreboardCollector(gateway.limit.scoreboard))

    async def healthz(_: web.Request) -> web.Response:
        gateway.publish_metrics()
        return web.json_response(health(gateway))

    async def metrics(_: web.Request) -> web.Response:
        gateway.publish_metrics()
        body = await asyncio.to_thread(generate_latest, registry)  # 13 ms with 64 gateways
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    origins = Origins(options.allow_origins, own_names(options.host))
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[origins.guard])
    ViewerPages(options.encoding_limit).add_to(app.router)
    app.router.add_get("/ws", gateway.connections.handle)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/graph.json", GraphDocument(gateway).get)
    for api in (PhysicsApi, ReplayApi):
        api(gateway.requests, options.admin).add_to(app.router)
    return app
