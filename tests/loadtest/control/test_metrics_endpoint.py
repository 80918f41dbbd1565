"""The metrics of a running test, as Prometheus reads them."""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vfctl.errors import InputError
from vfctl.loadtest.control.live import Status
from vfctl.loadtest.control.metrics_endpoint import MetricsEndpoint
from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.scenario.stages import Step
from vfctl.metrics.histogram import Summary


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    made = MetricsEndpoint(0)
    yield made
    made.close()


def samples(endpoint: MetricsEndpoint) -> dict[str, float]:
    with urllib.request.urlopen(endpoint.url, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            " ".join([sample.name, *sorted(sample.labels.values())]): sample.value
            for family in families
            for sample in family.samples
        }


def test_a_running_test_exposes_its_metrics(endpoint: MetricsEndpoint) -> None:
    assert samples(endpoint) == {}, "nothing is known before the first status"
    step = Step("peak", "hold", True, 100, 0.0, 30.0)
    outcome = Outcome(100, 97, failed=1, lost=2, reconnects=4)
    latency = Summary(500, 0.5, 2.0, 5.0, 7.5, 9.25, 10.0, 11.0, 3.0)
    errors = Counter({'connection "reset"': 3})
    endpoint.show(
        Status(1, 3, step, 1.0, 30.0, outcome, 1234.0, 5e6, latency, errors=errors, messages=9000, bytes=10**7)
    )
    assert samples(endpoint) == {
        "vfctl_loadtest_clients target": 100,
        "vfctl_loadtest_clients connected": 97,
        "vfctl_loadtest_clients failed": 1,
        "vfctl_loadtest_clients lost": 2,
        "vfctl_loadtest_clients away": 0,
        "vfctl_loadtest_clients connecting": 0,
        "vfctl_loadtest_stage peak true": 1,
        "vfctl_loadtest_messages_per_second": 1234,
        "vfctl_loadtest_bytes_per_second": 5e6,
        "vfctl_loadtest_messages_total": 9000,
        "vfctl_loadtest_bytes_total": 1e7,
        "vfctl_loadtest_reconnects_total": 4,
        "vfctl_loadtest_latency_seconds 0.5": 0.002,
        "vfctl_loadtest_latency_seconds 0.95": 0.0075,
        "vfctl_loadtest_latency_seconds 0.99": 0.00925,
        'vfctl_loadtest_errors_total connection "reset"': 3,
    }
    endpoint.show(Status(1, 3, step, 1.0, 30.0, outcome))
    assert "vfctl_loadtest_latency_seconds 0.5" not in samples(endpoint), "no samples, no percentile"


def test_a_port_that_is_taken_is_an_error(endpoint: MetricsEndpoint) -> None:
    port = int(endpoint.url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(InputError, match="cannot serve metrics on 127"):
        MetricsEndpoint(port)
