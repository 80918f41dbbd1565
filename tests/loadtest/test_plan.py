"""How a load is cut into processes and paced."""

from __future__ import annotations

import socket
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vfctl.loadtest.plan import MAX_CLIENTS_PER_PROCESS, Target, due_connects, heartbeats_due, plan_shards

LOOPBACK = Target(socket.AF_INET, ("127.0.0.1", 8765), "127.0.0.1:8765", "/ws")


@given(st.integers(1, 200_000))
def test_shares_add_up_and_none_is_too_large(clients: int) -> None:
    shards = plan_shards(LOOPBACK, clients, 1.0, None)
    sizes = [shard.clients for shard in shards]
    assert sum(sizes) == clients
    assert max(sizes) <= MAX_CLIENTS_PER_PROCESS
    assert max(sizes) - min(sizes) <= 1


def test_sources_are_spread_on_loopback_only() -> None:
    """One (source, destination) pair has 28,232 ports."""
    shards = plan_shards(LOOPBACK, 50_000, 1.0, None)
    assert len({shard.source_address for shard in shards}) == len(shards) > 1
    remote = Target(socket.AF_INET, ("192.0.2.1", 80), "example", "/")
    assert {shard.source_address for shard in plan_shards(remote, 50_000, 1.0, None)} == {None}
    v6 = Target(socket.AF_INET6, ("::1", 80, 0, 0), "[::1]", "/")
    assert {shard.source_address for shard in plan_shards(v6, 50_000, 1.0, None)} == {None}


@given(st.floats(0, 100), st.floats(0, 20), st.integers(0, 10_000))
def test_a_ramp_is_linear_and_complete(elapsed_s: float, ramp_s: float, clients: int) -> None:
    due = due_connects(elapsed_s, ramp_s, clients)
    assert 0 <= due <= clients
    assert due <= due_connects(elapsed_s + 0.1, ramp_s, clients)
    if elapsed_s >= ramp_s:
        assert due == clients
    else:
        assert abs(due - clients * elapsed_s / ramp_s) <= 1


@given(st.integers(1, 500), st.lists(st.floats(0.001, 3.0), min_size=1, max_size=50))
def test_every_client_has_its_heartbeat_once_in_a_period(clients: int, steps: list[float]) -> None:
    period_s, now_s = 30.0, 0.0
    sent: Counter[int] = Counter()
    while now_s < 2 * period_s:
        for step_s in steps:
            sent.update(heartbeats_due(now_s, now_s + step_s, clients, period_s))
            now_s += step_s
    periods = now_s / period_s
    assert all(periods - 1 <= sent[client] <= periods + 1 for client in range(clients))
