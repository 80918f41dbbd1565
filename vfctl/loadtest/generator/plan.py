"""How a load is cut into processes."""

from __future__ import annotations

import ipaddress
import itertools
import math
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vfctl.errors import UsageError
from vfctl.loadtest.generator.behaviour import World
from vfctl.loadtest.scenario.roles import Role, cast

MAX_CLIENTS_PER_PROCESS: Final = 17_000
"""Below the 20,000 descriptors that a process is commonly allowed, and about half a core at a message a second."""

RESERVED_DESCRIPTORS: Final = 100
"""Kept for what is not a client: epoll, pipes, libraries."""

CLIENTS_PER_SOURCE: Final = 10_000
"""From one source address on loopback. There are 28,232 ports towards one server, but Linux gives out those of one
parity first (`__inet_hash_connect`), and once these 14,116 are used up it walks through all of them at every connect:
4 ms each, measured, with the generator standing still meanwhile."""

MAX_SOURCE_ADDRESSES: Final = 4096
"""Of a network given by its CIDR; 115 million ports."""

CONNECT_TIMEOUT_S: Final = 10.0
"""A connect or handshake that takes longer has failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the simulated clients connect to, resolved once.

    Attributes:
        family: address family of `address`.
        address: what `socket.connect` takes.
        host: for the Host header, with the port.
        resource: path and query.
    """

    family: int
    address: tuple[object, ...]
    host: str
    resource: str


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of one generator process. Clients are dealt out in turn, so every shard has its part of every ramp.

    Attributes:
        number: which process this is, from 0.
        count: how many shares the clients are cut into.
        roles: that clients play.
        cast: the role of each of this shard's clients, an index into `roles`; as many bytes as clients.
        resources: path and query for each role.
        world: what is known of the served graph.
        ranks: for each of this shard's clients the how manieth of its role it is, of all clients, from 0.
        side: which of the servers that are compared, 0 or 1; its processes follow those of the one before.
        source_addresses: local addresses to connect from, in turn; empty for the system's choice. One source has some
            28,000 ports towards one server.
    """

    number: int
    count: int
    target: Target
    roles: tuple[Role, ...]
    cast: bytes
    resources: tuple[str, ...]
    world: World = field(default_factory=World)
    source_addresses: tuple[str, ...] = ()
    side: int = 0
    ranks: tuple[int, ...] = ()

    def part_of(self, clients: int) -> int:
        """How many of so many clients are this shard's."""
        return len(range(self.number % self.count, clients, self.count))


LOOPBACK_EXAMPLE: Final = Target(socket.AF_INET, ("127.0.0.1", 0), "", "")
REMOTE_EXAMPLE: Final = Target(socket.AF_INET, ("192.0.2.1", 0), "", "")
"""Stand for a server on this machine and for one elsewhere, where only that matters."""


def is_local(target: Target) -> bool:
    """Whether the server is on this machine."""
    return _address(target).is_loopback


def _address(target: Target) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(str(target.address[0]).partition("%")[0])


def clients_per_process(descriptors: int) -> int:
    """How many clients one generator process takes, if it may open so many files."""
    return max(0, min(MAX_CLIENTS_PER_PROCESS, descriptors - RESERVED_DESCRIPTORS))


def source_addresses(target: Target, clients: int, cidr: str | None) -> tuple[str, ...]:
    """Where clients connect from: the addresses of `cidr`, else as many of 127.0.0.0/8 as a load on loopback needs.

    Returns:
        Addresses, none for the system's choice.

    Raises:
        UsageError: `cidr` is no network, or of another family than the target.
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


def check_own(addresses: Sequence[str]) -> None:
    """See that clients can connect from these addresses, by the first of them.

    Raises:
        UsageError: it is none of this machine's.
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
    world: World | None = None,
    per_process: int = MAX_CLIENTS_PER_PROCESS,
    sources: tuple[str, ...] = (),
) -> list[Shard]:
    """As few processes as hold the clients; shares differ by one at most.

    Raises:
        UsageError: a process may hold no client at all.
    """
    if per_process < 1:
        raise UsageError("a process may open too few files for a single client", hint="ulimit -n 4096")
    count = max(1, math.ceil(clients / per_process))
    parts = cast(roles, clients)
    ranks = _ranks(parts)
    return [
        Shard(
            number=number,
            count=count,
            target=target,
            roles=roles,
            cast=parts[number::count],
            ranks=ranks[number::count],
            resources=tuple(_with_voice(target.resource) if role.voice else target.resource for role in roles),
            world=world or World(),
            source_addresses=sources[number % len(sources) :] + sources[: number % len(sources)] if sources else (),
        )
        for number in range(count)
    ]


def _ranks(parts: bytes) -> tuple[int, ...]:
    seen = [0] * 256
    ranks = []
    for role in parts:
        ranks.append(seen[role])
        seen[role] += 1
    return tuple(ranks)


def _with_voice(resource: str) -> str:
    if "voice=" in resource:
        return resource
    return f"{resource}{'&' if '?' in resource else '?'}voice=1"


def heartbeats_due(last_s: float, now_s: float, clients: int, period_s: float) -> Iterator[int]:
    """Whose heartbeat falls into (last, now]: each client has its own moment in the period."""
    if not clients:
        return
    first = math.floor(last_s * clients / period_s) + 1
    end = math.floor(now_s * clients / period_s) + 1
    for turn in range(max(first, end - clients), end):
        yield turn % clients
