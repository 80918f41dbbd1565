"""The gateway's HTTP side: viewer, health, metrics, graph, physics, replay. Any gateway answers for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vfctl import __version__
from vfctl.graph.model import to_node_link
from vfctl.server.gateway.gateway import Gateway
from vfctl.server.http.pages import ViewerPages
from vfctl.server.http.physics_api import MAX_BODY_BYTES
from vfctl.server.process.publish_metrics import post
from vfctl.server.process.scoreboard import Scoreboard

_COUNTERS: Final = {
    "connections": ("vfctl_connections", "Handshakes completed."),
    "frames": ("vfctl_frames_sent", "PositionUpdates and owed FullGraphs written in a client's turn."),
    "bytes": ("vfctl_sent_bytes", "Bytes written to clients, WebSocket framing included."),
    "skipped": ("vfctl_frames_skipped", "Turns that a client missed because earlier bytes still waited for it."),
    "stalled": ("vfctl_clients_stalled", "Clients disconnected because they took nothing for the stall time-out."),
    "voice_messages": ("vfctl_voice_messages_sent", "VoiceData messages written."),
    "voice_dropped": ("vfctl_voice_messages_dropped", "VoiceData messages of clients that said too much, not relayed."),
    "voice_skipped": ("vfctl_voice_messages_skipped", "VoiceData messages left out for a listener that was behind."),
    "protocol_errors": ("vfctl_protocol_errors", "Client messages that were not V4."),
    "refused": ("vfctl_connections_refused", "Handshakes refused because the server was full."),
}

_RECORDING: Final = {
    "messages": ("vfctl_recorded_messages", "Messages taken down by the server's own recording."),
    "bytes": ("vfctl_recorded_bytes", "Bytes of those messages."),
    "dropped": ("vfctl_recording_dropped_messages", "Messages missing from it: they came too fast to be taken down."),
}

_GAUGES: Final = {
    "clients": ("vfctl_clients", "Connections now.", 1),
    "capacity": ("vfctl_clients_capacity", "Connections that the gateway can hold.", 1),
    "interval_us": ("vfctl_interval_seconds", "Present length of a round.", 1e-6),
    "wanted_interval_us": ("vfctl_wanted_interval_seconds", "What it would be if all the work fitted.", 1e-6),
    "settled": ("vfctl_settled", "1 if the layout is stable.", 1),
    "tick_write_us": ("vfctl_tick_write_seconds", "Time that the last tick's writes took.", 1e-6),
    "began_us": ("vfctl_start_time_seconds", "Since when the gateway serves, unix time.", 1e-6),
}


class ScoreboardCollector(Collector):
    """Reads the scoreboard when somebody asks."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard

    def collect(self) -> Iterator[Metric]:
        """All metrics, one sample a gateway, labelled with its number."""
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


def health(gateway: Gateway) -> dict[str, Any]:
    """What /healthz says."""
    scoreboard = gateway.places.scoreboard
    serving = scoreboard.serving()
    return {
        "name": "vfctl",
        "version": __version__,
        "status": "ok",
        "protocol": 4,
        "encodings": gateway.encoding_limit.allowed,
        "replay": gateway.replays,
        "nodes": len(gateway.scene.nodes),
        "gateways": len(serving),
        "clients": scoreboard.clients,
        "max_clients": min(gateway.places.max_clients, scoreboard.capacity),
        "settled": gateway.scene.settled,
        "interval_ms": max(slot.interval_us for _, slot in serving) / 1000,
    }


def build_app(gateway: Gateway) -> web.Application:
    """The aiohttp application of one gateway."""
    registry = CollectorRegistry()
    registry.register(ScoreboardCollector(gateway.places.scoreboard))

    async def healthz(_: web.Request) -> web.Response:
        post(gateway)
        return web.json_response(health(gateway))

    async def metrics(_: web.Request) -> web.Response:
        post(gateway)
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def graph_json(_: web.Request) -> web.Response:
        assert gateway.graph is not None, "the app is served once the graph is there"
        return web.json_response(to_node_link(gateway.graph, gateway.scene.nodes))

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[gateway.origins.guard])
    ViewerPages(gateway.encoding_limit).add_to(app.router)
    app.router.add_get("/ws", gateway.websocket)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/graph.json", graph_json)
    app.router.add_get("/physics", gateway.physics.show)
    app.router.add_patch("/physics", gateway.physics.change)
    app.router.add_get("/replay", gateway.replay.show)
    app.router.add_patch("/replay", gateway.replay.change)
    return app
