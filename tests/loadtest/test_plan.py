"""How a load is cut into processes and paced."""

from __future__ import annotations

import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.errors import UsageError
from vfctl.loadtest.plan import (
    MAX_CLIENTS_PER_PROCESS,
    MAX_SOURCE_ADDRESSES,
    Target,
    clients_per_process,
    due_connects,
    heartbeats_due,
    plan_shards,
    source_addresses,
)

LOOPBACK = Target(socket.AF_INET, ("127.0.0.1", 8765), "127.0.0.1:8765", "/ws")


@given(st.integers(1, 200_000))
def test_shares_add_up_and_none_is_too_large(clients: int) -> None:
    shards = plan_shards(LOOPBACK, clients, 1.0, None)
    sizes = [shard.clients for shard in shards]
    assert sum(sizes) == clients
    assert max(sizes) <= MAX_CLIENTS_PER_PROCESS
    assert max(sizes) - min(sizes) <= 1


def test_sources_are_spread_on_loopback_only() -> None:
    """One (source, destination) pair has 28,232 ports, and finding one is slow once half of them are used."""
    sources = source_addresses(LOOPBACK, 50_000, None)
    assert 50_000 / len(sources) < 28_232 / 2
    assert all(source.startswith("127.0.") for source in sources)
    assert source_addresses(LOOPBACK, 10_000, None) == ()
    remote = Target(socket.AF_INET, ("192.0.2.1", 80), "example", "/")
    assert source_addresses(remote, 50_000, None) == ()
    v6 = Target(socket.AF_INET6, ("::1", 80, 0, 0), "[::1]", "/")
    assert source_addresses(v6, 50_000, None) == ()


def test_a_network_of_source_addresses() -> None:
    remote = Target(socket.AF_INET, ("192.0.2.1", 80), "example", "/")
    assert source_addresses(remote, 10, "10.1.2.0/30") == ("10.1.2.1", "10.1.2.2")
    assert len(source_addresses(remote, 10, "10.0.0.0/8")) == MAX_SOURCE_ADDRESSES
    for wrong in ("nonsense", "10.0.0.0/99", "fd00::/64"):
        with pytest.raises(UsageError, match="--source-ip"):
            source_addresses(remote, 10, wrong)


def test_every_process_begins_at_another_source() -> None:
    sources = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
    shards = plan_shards(LOOPBACK, 48_000, 1.0, None, sources=sources)
    assert [shard.source_addresses[0] for shard in shards] == list(sources)
    assert {frozenset(shard.source_addresses) for shard in shards} == {frozenset(sources)}


def test_the_number_of_processes_follows_from_the_descriptor_limit() -> None:
    assert clients_per_process(20_000) == MAX_CLIENTS_PER_PROCESS
    assert clients_per_process(1024) == 924
    assert len(plan_shards(LOOPBACK, 5000, 1.0, None, per_process=clients_per_process(1024))) == 6
    with pytest.raises(UsageError, match="too few files"):
        plan_shards(LOOPBACK, 5, 1.0, None, per_process=clients_per_process(50))


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
