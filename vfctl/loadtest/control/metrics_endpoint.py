"""The metrics of a running load test, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vfctl.errors import InputError
from vfctl.loadtest.control.live import Status

HOST: Final = "127.0.0.1"
"""Loopback only. A Prometheus on another machine uses an agent or a tunnel."""

_CLIENTS: Final = ("target", "connected", "failed", "lost", "away", "connecting")
_QUANTILES: Final = (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))


class MetricsEndpoint(Collector):
    """Serves `http://127.0.0.1:PORT/metrics` in a thread of its own until `close`.

    Args:
        port: 0 chooses a free port.

    Raises:
        InputError: the port cannot be used.
    """

    def __init__(self, port: int) -> None:
        self._status: Status | None = None
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, HOST, registry)
        except OSError as error:
            raise InputError(
                f"cannot serve metrics on {HOST}:{port}: {error.strerror}", hint="--metrics-port 0 chooses a free port"
            ) from None
        self.url = f"http://{HOST}:{self._server.server_port}/metrics"

    def show(self, status: Status) -> None:
        """Serve this status from now on."""
        self._status = status

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def collect(self) -> Iterator[Metric]:
        """The metrics of the newest status; none before the first."""
        status = self._status
        if status is None:
            return
        clients = GaugeMetricFamily("vfctl_loadtest_clients", "Simulated clients, by state.", labels=["state"])
        for state in _CLIENTS:
            clients.add_metric([state], getattr(status.outcome, state))
        yield clients
        stage = GaugeMetricFamily("vfctl_loadtest_stage", "The present stage, from 0.", labels=["name", "measured"])
        stage.add_metric([status.step.name, str(status.step.measured).lower()], status.number)
        yield stage
        rates = (
            ("messages", "Messages received a second, over the last second.", status.messages_per_s),
            ("bytes", "Bytes received a second, over the last second.", status.bytes_per_s),
        )
        for name, text, rate in rates:
            yield GaugeMetricFamily(f"vfctl_loadtest_{name}_per_second", text, rate)
        totals = (
            ("messages", "Messages received since the start.", status.messages),
            ("bytes", "Bytes received since the start, WebSocket framing included.", status.bytes),
            ("reconnects", "Retries that ended in an open connection.", status.outcome.reconnects),
        )
        for name, text, total in totals:
            yield CounterMetricFamily(f"vfctl_loadtest_{name}", text, total)
        latency = GaugeMetricFamily(
            "vfctl_loadtest_latency_seconds", "Latency, percentiles of the last second.", labels=["quantile"]
        )
        for quantile, name in _QUANTILES:
            value = getattr(status.last_second, name)
            if value is not None:
                latency.add_metric([quantile], value / 1000)
        yield latency
        errors = CounterMetricFamily("vfctl_loadtest_errors", "Failures since the start.", labels=["kind"])
        for kind, count in status.errors.items():
            errors.add_metric([kind], count)
        yield errors
