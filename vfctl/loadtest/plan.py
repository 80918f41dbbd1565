"""How a load is cut into processes."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vfctl.protocol import Filter

MAX_CLIENTS_PER_PROCESS: Final = 16_000
"""Below the 20,000 descriptors that a process is commonly allowed, and about half a core at a message a second."""

CONNECTS_PER_S: Final = 500
"""The ramp that is chosen when none is asked for: what a busy server on the same machine shakes hands with."""

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
    """The share of one generator process.

    Attributes:
        number: which share this is, from 0.
        clients: how many clients it simulates.
        ramp_s: seconds over which they connect.
        source_address: local address to connect from, None for the system's choice. One source has some 28,000 ports
            towards one server; on loopback every process takes its own.
        filter: sent by each client once it is connected.
    """

    number: int
    clients: int
    ramp_s: float
    target: Target
    source_address: str | None = None
    filter: Filter | None = None


def default_ramp_s(clients: int) -> float:
    """Seconds to connect so many clients, if nobody has said."""
    return max(1.0, clients / CONNECTS_PER_S)


def plan_shards(target: Target, clients: int, ramp_s: float, criteria: Filter | None) -> list[Shard]:
    """As few processes as hold the clients; shares differ by one at most."""
    count = max(1, math.ceil(clients / MAX_CLIENTS_PER_PROCESS))
    address = ipaddress.ip_address(str(target.address[0]).partition("%")[0])
    spread = address.is_loopback and address.version == 4 and count > 1
    return [
        Shard(
            number=number,
            clients=clients // count + (number < clients % count),
            ramp_s=ramp_s,
            target=target,
            source_address=f"127.0.1.{number + 1}" if spread else None,
            filter=criteria,
        )
        for number in range(count)
    ]


def due_connects(elapsed_s: float, ramp_s: float, clients: int) -> int:
    """How many clients should have begun to connect after `elapsed_s` of a linear ramp."""
    if ramp_s <= 0 or elapsed_s >= ramp_s:
        return clients
    return min(clients, math.floor(clients * elapsed_s / ramp_s) + 1)


def heartbeats_due(last_s: float, now_s: float, clients: int, period_s: float) -> Iterator[int]:
    """Whose heartbeat falls into (last, now]: each client has its own moment in the period."""
    if not clients:
        return
    first = math.floor(last_s * clients / period_s) + 1
    end = math.floor(now_s * clients / period_s) + 1
    for turn in range(max(first, end - clients), end):
        yield turn % clients
