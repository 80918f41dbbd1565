"""How many clients a process can hold, how many gateways a server needs, and the limit for each gateway."""

from __future__ import annotations

import contextlib
import math
import os
import resource
from typing import Final

from vfctl.server.scoreboard import Scoreboard

RESERVED_DESCRIPTORS: Final = 200
"""File descriptors that are not for clients: libraries, pipes, the bus, connections that are being refused."""

PLANNED_FILL: Final = 0.95
"""Planned share of a gateway's capacity. The kernel distributes connections by a hash, a few percent unevenly, and a
full gateway refuses a client although another one has room."""

CLIENTS_PER_CORE: Final = 5_000
"""Clients of each gateway if there are enough cores. It then writes to them in a fraction of the interval."""

MAX_WORKERS: Final = 64
"""A larger number is a typing error, or a limit of open files that should be raised instead."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard limit. Returns the limit that holds then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some kernels refuse a soft limit of infinity
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft


def client_capacity(descriptors: int) -> int:
    """Number of clients that a process can hold with this limit of open files."""
    return max(1, descriptors - RESERVED_DESCRIPTORS)


def workers_for(max_clients: int, *, descriptors: int, cores: int) -> int:
    """Number of gateways that can hold the clients, or more if there are cores that would serve them faster.

    Args:
        max_clients: of all gateways together.
        descriptors: limit of open files of a process.
        cores: of the machine. One is left to the frame source.
    """
    held_by_each = max(1, math.floor(client_capacity(descriptors) * PLANNED_FILL))
    needed = math.ceil(max_clients / held_by_each)
    useful = min(math.ceil(max_clients / CLIENTS_PER_CORE), cores - 1)
    return min(MAX_WORKERS, max(1, needed, useful))


def workers_here(max_clients: int) -> int:
    """`workers_for` on this machine. Raises the limit of open files of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return workers_for(max_clients, descriptors=raise_descriptor_limit(), cores=cores)


class ClientLimit:
    """The number of clients that a gateway may accept. `max_clients` counts all gateways together.

    Args:
        scoreboard: of the server.
        number: of the gateway.
        capacity: number of clients that this gateway can hold.
        max_clients: number of clients that the server accepts.

    Attributes:
        slot: the gateway's slot of the scoreboard.
    """

    def __init__(self, scoreboard: Scoreboard, number: int, *, capacity: int, max_clients: int) -> None:
        self.slot = scoreboard[number]
        self.max_clients = max_clients
        self.scoreboard = scoreboard
        self.slot.capacity = capacity

    def acquire(self) -> str | None:
        """Count a new client.

        Returns:
            None, or why the client must be refused. A refused client is not counted.
        """
        slot = self.slot
        # Increment first, then compare: two gateways may both refuse the last client, but never both accept one.
        slot.clients += 1
        if self.scoreboard.clients > self.max_clients:
            slot.clients -= 1
            return f"the server is full: it accepts {self.max_clients} clients"
        if slot.clients > slot.capacity:
            slot.clients -= 1
            return f"this gateway is full: it holds {slot.capacity} clients; another gateway may have room"
        return None

    def release(self) -> None:
        """A client has disconnected, or its handshake has failed."""
        self.slot.clients -= 1
