"""The gateway's HTTP side: /healthz, /metrics, /graph.json."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vfctl import __version__
from vfctl.graph.node_link import to_node_link
from vfctl.server.gateway import Gateway

_COUNTERS = {
    "connections": ("vfctl_connections", "Handshakes completed."),
    "frames": ("vfctl_frames_sent", "PositionUpdates and owed FullGraphs written in a client's turn."),
    "bytes": ("vfctl_sent_bytes", "Bytes written to clients, WebSocket framing included."),
    "skipped": ("vfctl_frames_skipped", "Turns that a client missed because earlier bytes still waited for it."),
    "stalled": ("vfctl_clients_stalled", "Clients disconnected because they took nothing for the stall time-out."),
    "voice_messages": ("vfctl_voice_messages_sent", "VoiceData messages written."),
    "protocol_errors": ("vfctl_protocol_errors", "Client messages that were not V4."),
    "refused": ("vfctl_connections_refused", "Handshakes refused because the server was full."),
}


class GatewayCollector(Collector):
    """Reads a gateway's plain counters when somebody asks: nothing is counted twice on the hot path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """All metrics of this gateway, labelled with its number."""
        gateway = self._gateway
        number = str(gateway.number)
        for attribute, (name, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=["gateway"])
            counter.add_metric([number], getattr(gateway.clients.traffic, attribute))
            yield counter
        gauges = {
            "vfctl_clients": ("Connections now.", len(gateway.clients)),
            "vfctl_interval_seconds": ("Present length of a round.", gateway.coordinator.interval_us / 1e6),
            "vfctl_settled": ("1 if the layout is stable.", int(gateway.scene.settled)),
            "vfctl_tick_write_seconds": ("Time that the last tick's writes took.", gateway.last_tick_write_us / 1e6),
        }
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=["gateway"])
            gauge.add_metric([number], value)
            yield gauge


def build_app(gateway: Gateway) -> web.Application:
    """The aiohttp application of one gateway."""
    registry = CollectorRegistry()
    registry.register(GatewayCollector(gateway))

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "name": "vfctl",
                "version": __version__,
                "status": "ok",
                "protocol": 4,
                "nodes": len(gateway.scene.nodes),
                "clients": len(gateway.clients),
                "max_clients": gateway.max_clients,
                "settled": gateway.scene.settled,
                "interval_ms": gateway.coordinator.interval_us / 1000,
            }
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def graph_json(_: web.Request) -> web.Response:
        assert gateway.graph is not None, "the app is served once the graph is there"
        return web.json_response(to_node_link(gateway.graph, gateway.scene.nodes))

    app = web.Application()
    app.router.add_get("/ws", gateway.websocket)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/graph.json", graph_json)
    return app
