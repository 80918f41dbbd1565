"""How a load is divided among processes."""

from __future__ import annotations

import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.errors import UsageError
from vfctl.loadtest.generator.heartbeats import heartbeats_due
from vfctl.loadtest.generator.plan import (
    MAX_CLIENTS_PER_PROCESS,
    MAX_SOURCE_ADDRESSES,
    Target,
    check_source_addresses,
    clients_per_process,
    plan_shards,
    source_addresses,
)
from vfctl.loadtest.scenario.roles import Speaker, Viewer

LOOPBACK = Target(socket.AF_INET, ("127.0.0.1", 8765), "127.0.0.1:8765", "/ws")


@given(st.integers(1, 200_000))
def test_shares_add_up_and_none_is_too_large(clients: int) -> None:
    shards = plan_shards(LOOPBACK, (Viewer(),), clients)
    sizes = [len(shard.role_of) for shard in shards]
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


def test_addresses_of_other_machines_are_found_before_the_run() -> None:
    check_source_addresses(["127.0.0.9"])
    check_source_addresses(["::1"])
    for foreign in ("192.0.2.1", "2001:db8::1"):
        with pytest.raises(UsageError, match=f"cannot connect from {foreign}") as found:
            check_source_addresses([foreign, "127.0.0.1"])
        assert "ip addr" in str(found.value.hint)


def test_every_process_begins_at_another_source() -> None:
    sources = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
    shards = plan_shards(LOOPBACK, (Viewer(),), 48_000, sources=sources)
    assert [shard.source_addresses[0] for shard in shards] == list(sources)
    assert {frozenset(shard.source_addresses) for shard in shards} == {frozenset(sources)}


def test_the_number_of_processes_follows_from_the_descriptor_limit() -> None:
    assert clients_per_process(20_000) == MAX_CLIENTS_PER_PROCESS
    assert clients_per_process(1024) == 924
    assert len(plan_shards(LOOPBACK, (Viewer(),), 5000, per_process=clients_per_process(1024))) == 6
    with pytest.raises(UsageError, match="too few files"):
        plan_shards(LOOPBACK, (Viewer(),), 5, per_process=clients_per_process(50))


@given(st.integers(1, 3000), st.integers(0, 3000), st.integers(1, 500))
def test_the_shares_of_every_level_add_up(clients: int, level: int, per_process: int) -> None:
    shards = plan_shards(LOOPBACK, (Viewer(),), clients, per_process=per_process)
    parts = [shard.part_of(min(level, clients)) for shard in shards]
    assert sum(parts) == min(level, clients)
    assert max(parts) - min(parts) <= 1
    assert [shard.part_of(clients) for shard in shards] == [len(shard.role_of) for shard in shards]


def test_roles_keep_their_shares_in_every_process() -> None:
    shards = plan_shards(LOOPBACK, (Viewer(share=3), Viewer(name="x")), 40_000)
    assert len(shards) == 3
    for shard in shards:
        assert shard.role_of.count(1) == pytest.approx(len(shard.role_of) / 4, abs=2)


def test_the_url_of_listeners_asks_for_voice() -> None:
    asked = Target(socket.AF_INET, ("127.0.0.1", 1), "x", "/ws?timed=1")
    (shard,) = plan_shards(asked, (Viewer(), Speaker(), Viewer(name="y", voice=True)), 3)
    assert shard.resources == ("/ws?timed=1", "/ws?timed=1&voice=1", "/ws?timed=1&voice=1")
    (shard,) = plan_shards(LOOPBACK, (Speaker(),), 3)
    assert shard.resources == ("/ws?voice=1",)


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
