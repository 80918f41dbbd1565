"""Divides a load among generator processes, and chooses the addresses that they connect from."""

from __future__ import annotations

import ipaddress
import itertools
import math
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vfctl.errors import UsageError
from vfctl.loadtest.generator.behaviour import ScriptContext
from vfctl.loadtest.scenario.roles import Role, assign_roles

MAX_CLIENTS_PER_PROCESS: Final = 17_000
"""Below the 20,000 descriptors that a process commonly may open; about half a core at one message a second each."""

RESERVED_DESCRIPTORS: Final = 100
"""Kept free for other uses: epoll, pipes, libraries."""

CLIENTS_PER_SOURCE: Final = 10_000
"""From one source address on loopback. There are 28,232 ports towards one server, but Linux assigns those of one
parity first (`__inet_hash_connect`). Once these 14,116 are used, every connect searches all of them, which blocks the
generator for 4 ms."""

MAX_SOURCE_ADDRESSES: Final = 4096
"""Addresses that are used of a network given as CIDR; 115 million ports."""

CONNECT_TIMEOUT_S: Final = 10.0
"""A connect with handshake that takes longer has failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """The server that the simulated clients connect to, resolved once.

    Attributes:
        family: address family of `address`.
        address: the argument of `socket.connect`.
        host: for the Host header, with the port.
        resource: path and query.
    """

    family: int
    address: tuple[object, ...]
    host: str
    resource: str


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of one generator process. Clients are assigned to shards in turn, so each has a part of every ramp.

    Attributes:
        number: index of the process.
        count: number of shards for the same target.
        roles: of the clients.
        role_of: for each client of this shard the index of its role; one byte per client.
        resources: path and query, for each role.
        context: what scripts know of the served graph.
        source_addresses: local addresses to connect from, in turn; empty if the system chooses. One address has about
            28,000 ports towards one server.
        target_index: which of the compared servers it connects to, 0 or 1.
        role_ranks: for each client of this shard its index among all clients of its role.
    """

    number: int
    count: int
    target: Target
    roles: tuple[Role, ...]
    role_of: bytes
    resources: tuple[str, ...]
    context: ScriptContext = field(default_factory=ScriptContext)
    source_addresses: tuple[str, ...] = ()
    target_index: int = 0
    role_ranks: tuple[int, ...] = ()

    def part_of(self, clients: int) -> int:
        """The number of this shard's clients, of `clients` in all."""
        return len(range(self.number % self.count, clients, self.count))


LOOPBACK_EXAMPLE: Final = Target(socket.AF_INET, ("127.0.0.1", 0), "", "")
REMOTE_EXAMPLE: Final = Target(socket.AF_INET, ("192.0.2.1", 0), "", "")
"""A server on this machine and one elsewhere, where only that difference matters."""


def is_local(target: Target) -> bool:
    """Whether the server is on this machine."""
    return _address(target).is_loopback


def _address(target: Target) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(str(target.address[0]).partition("%")[0])


def clients_per_process(descriptors: int) -> int:
    """The number of clients that one generator process runs, given its open-file limit."""
    return max(0, min(MAX_CLIENTS_PER_PROCESS, descriptors - RESERVED_DESCRIPTORS))


def source_addresses(target: Target, clients: int, cidr: str | None) -> tuple[str, ...]:
    """The addresses that clients connect from: those of `cidr`, or as many of 127.0.0.0/8 as loopback needs.

    Returns:
        The addresses; empty if the system chooses.

    Raises:
        UsageError: `cidr` is no network, or its family differs from the target's.
    """
    address = _address(target)
    if cidr is not None:
        try:
            network = ipaddress.ip_network(cidr, strict=False)
        except ValueError as error:
            raise UsageError(f"--source-ip: {error}", hint="for example --source-ip 10.0.0.16/28") from None
        if network.version != address.version:
            raise UsageError(
                f"--source-ip {cidr} is IPv{network.version}, the server's address is IPv{address.version}"
            )
        hosts = itertools.islice(network.hosts(), MAX_SOURCE_ADDRESSES)
        return tuple(str(host) for host in hosts)
    needed = math.ceil(clients / CLIENTS_PER_SOURCE)
    if not address.is_loopback or address.version != 4 or needed == 1:
        return ()
    return tuple(f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(needed))


def check_source_addresses(addresses: Sequence[str]) -> None:
    """Check that clients can connect from these addresses; the first one is tried.

    Raises:
        UsageError: it is no address of this machine.
    """
    for address in addresses[:1]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError as error:
                raise UsageError(
                    f"--source-ip: cannot connect from {address}: {(error.strerror or str(error)).lower()}",
                    hint="addresses of this machine: ip addr; add some: ip addr add 10.0.0.17/28 dev eth0",
                ) from None


def plan_shards(
    target: Target,
    roles: tuple[Role, ...],
    clients: int,
    *,
    context: ScriptContext | None = None,
    per_process: int = MAX_CLIENTS_PER_PROCESS,
    sources: tuple[str, ...] = (),
) -> list[Shard]:
    """Divide the clients among as few processes as possible; their shares differ by one at most.

    Raises:
        UsageError: a process may not open enough files for one client.
    """
    if per_process < 1:
        raise UsageError("a process may open too few files for a single client", hint="ulimit -n 4096")
    count = max(1, math.ceil(clients / per_process))
    role_of = assign_roles(roles, clients)
    ranks = _ranks(role_of)
    return [
        Shard(
            number=number,
            count=count,
            target=target,
            roles=roles,
            role_of=role_of[number::count],
            role_ranks=ranks[number::count],
            resources=tuple(_with_voice(target.resource) if role.voice else target.resource for role in roles),
            context=context or ScriptContext(),
            source_addresses=sources[number % len(sources) :] + sources[: number % len(sources)] if sources else (),
        )
        for number in range(count)
    ]


def _ranks(role_of: bytes) -> tuple[int, ...]:
    """For each client its index among the clients of its role."""
    counts = [itertools.count() for _ in range(256)]
    return tuple(next(counts[role]) for role in role_of)


def _with_voice(resource: str) -> str:
    if "voice=" in resource:
        return resource
    return f"{resource}{'&' if '?' in resource else '?'}voice=1"
