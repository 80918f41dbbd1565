import numpy as np
import pytest

from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, Heartbeat, PositionUpdate, Trailer
from vfctl.terminal.live_display import sparkline
from vfctl.terminal.watch_metrics import MINUTE_S, WatchMetrics

T_US = 1_700_000_000_000_000
BEGAN_S = 1000.0


@pytest.fixture
def metrics():
    return WatchMetrics(BEGAN_S)


def take(metrics, at_s, sequence, *, latency_ms=2.0, kind=PositionUpdate, size=100, interval_us=50_000, offset_us=0):
    """One that was valid at that time, and came so much later."""
    valid_us = T_US + round(at_s * 1e6)
    trailer = Trailer(sequence, valid_us, interval_us)
    nodes = np.zeros(3, NODE_DTYPE)
    message = (
        FullGraph(nodes, np.zeros(2, EDGE_DTYPE), None, trailer) if kind is FullGraph else kind(nodes, False, trailer)
    )
    arrival_us = valid_us + round(latency_ms * 1000) - offset_us
    metrics.record(message, size, now_s=at_s, arrival_us=arrival_us, offset_us=offset_us)


def test_before_anything_has_come_there_is_no_figure_and_not_0(metrics):
    assert (metrics.settled, metrics.interval_ms, metrics.latency(BEGAN_S), metrics.total_latency()) == (None,) * 4
    assert metrics.updates_per_s(BEGAN_S + 0.5) is None
    assert metrics.updates_per_s(BEGAN_S + 2) == 0
    assert set(metrics.latency_by_second(BEGAN_S + 2)) == {None}


def test_rates_are_of_the_last_seconds(metrics):
    for number in range(200):
        take(metrics, BEGAN_S + number / 20, number)
    assert metrics.updates_per_s(BEGAN_S + 10) == pytest.approx(20, abs=0.3)
    assert metrics.bytes_per_s(BEGAN_S + 10) == pytest.approx(2000, abs=30)
    assert metrics.updates_per_s(BEGAN_S + 30) == 0
    metrics.record(Heartbeat(1), 50, now_s=BEGAN_S + 30, arrival_us=T_US)
    assert metrics.updates_per_s(BEGAN_S + 30) == 0
    assert metrics.bytes_per_s(BEGAN_S + 30) == 10


def test_latency_is_of_ten_seconds_and_in_the_end_of_all(metrics):
    for number in range(100):
        take(metrics, BEGAN_S, number, latency_ms=1)
    for number in range(100):
        take(metrics, BEGAN_S + 20, 100 + number, latency_ms=number)
    latency = metrics.latency(BEGAN_S + 20)
    assert (latency.p50_ms, latency.p95_ms) == pytest.approx((49.5, 94), abs=0.2)
    assert metrics.total_latency().p50_ms == pytest.approx(1, rel=0.01)


def test_a_clock_that_is_ahead_is_taken_into_account(metrics):
    take(metrics, BEGAN_S, 1, latency_ms=3, offset_us=7_000_000)
    assert metrics.latency(BEGAN_S).p50_ms == pytest.approx(3)


@pytest.mark.parametrize(
    ("sequences", "gaps"),
    [
        ([5, 5, 6, 7], 0),  # our turn was still to come when the graph was sent
        ([5, 6, 7], 0),
        ([5, 7], 1),
        ([5, 5, 9, 10], 3),
    ],
)
def test_gaps_are_missing_rounds(metrics, sequences, gaps):
    take(metrics, BEGAN_S, sequences[0], kind=FullGraph)
    for sequence in sequences[1:]:
        take(metrics, BEGAN_S, sequence)
    assert metrics.gaps == gaps


def test_a_graph_restarts_the_count(metrics):
    take(metrics, BEGAN_S, 500, kind=FullGraph)
    take(metrics, BEGAN_S, 501)
    take(metrics, BEGAN_S, 3, kind=FullGraph)  # another gateway, after a reconnect
    take(metrics, BEGAN_S, 4)
    take(metrics, BEGAN_S, 9_000, kind=FullGraph)
    take(metrics, BEGAN_S, 9_000)
    assert metrics.gaps == 0


def test_the_last_minute_by_second(metrics):
    take(metrics, BEGAN_S + 0.5, 1, latency_ms=1, size=10)
    take(metrics, BEGAN_S + 2.5, 2, latency_ms=4, size=30)
    take(metrics, BEGAN_S + 2.6, 3, latency_ms=4, size=30)
    now_s = BEGAN_S + 3.2
    assert metrics.latency_by_second(now_s)[-4:] == [pytest.approx(1), None, pytest.approx(4), None]
    assert metrics.bytes_by_second(now_s)[-4:] == [None, 10, 0, 60]
    assert len(metrics.bytes_by_second(now_s)) == len(metrics.latency_by_second(now_s)) == MINUTE_S


def test_only_a_minute_is_kept(metrics):
    for second in range(1000):
        take(metrics, BEGAN_S + second, second)
    assert len(metrics._arrivals) <= MINUTE_S + 2
    assert metrics.updates == 1000


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 5, ""),
        ([1, 2, 4, 8], 4, "▂▃▅█"),
        ([1, 2, 4, 8], 2, "▅█"),
        ([1, 2], 0, ""),
        ([None, 3, None, 0], 9, " █ ▁"),
        ([0, 0], 2, "▁▁"),
    ],
)
def test_sparklines(values, width, bars):
    assert sparkline(values, width) == bars
