"""The preflight finds limits that are too low and names the command that raises them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vfctl.loadtest.control.preflight import Check, Limits, preflight, read_limits

PLENTY = Limits(
    descriptors=20_000,
    system_descriptors=10**9,
    local_ports=28_232,
    memory_bytes=24 * 10**9,
    tcp_memory_bytes=2 * 10**9,
)


def failed(limits: Limits, clients: int = 50_000, sources: int = 5) -> list[Check]:
    return [check for check in preflight(clients, limits, sources=sources, server_here=True) if not check.ok]


def test_plenty_is_enough() -> None:
    assert failed(PLENTY) == []


@pytest.mark.parametrize(
    ("change", "what", "command"),
    [
        ({"descriptors": 256}, "open files a process", "ulimit -Hn"),
        ({"system_descriptors": 60_000}, "open files of the machine", "sysctl -w fs.file-max="),
        ({"local_ports": 16_000}, "local ports", 'net.ipv4.ip_local_port_range="1024 65535"'),
        ({"memory_bytes": 10**8}, "memory", "--clients"),
        ({"tcp_memory_bytes": 10**8}, "kernel's TCP memory", "net.ipv4.tcp_mem="),
    ],
)
def test_what_is_too_low_comes_with_the_command_that_lifts_it(change: dict[str, int], what: str, command: str) -> None:
    (check,) = failed(replace(PLENTY, **change))
    assert check.what == what
    assert command in check.command


def test_one_source_address_is_not_enough_for_fifty_thousand() -> None:
    (check,) = failed(PLENTY, clients=100_000, sources=1)
    assert "--source-ip with at least 8" in check.command


def test_this_machine_can_be_read() -> None:
    limits = read_limits()
    assert limits.descriptors > 0
    assert limits.local_ports > 0
    assert limits.memory_bytes > 0
