"""How many gateways a server starts if nobody says."""

from __future__ import annotations

import math
import os
from typing import Final

from vfctl.server.process.descriptors import client_capacity, raise_descriptor_limit

EVEN_SHARE: Final = 0.95
"""How far a gateway is filled in the plan: the kernel spreads connections by a hash, a few percent unevenly, and who
meets a full gateway is refused while another one has room."""

CLIENTS_PER_CORE: Final = 5_000
"""Where there are cores to spare, a gateway to so many clients: it writes to them in a fraction of the interval."""

MAX_WORKERS: Final = 64
"""More is a typing error, or a limit of open files that should be lifted instead."""


def workers_for(max_clients: int, *, descriptors: int, cores: int) -> int:
    """As many gateways as can hold the clients; where there are cores for it, as many as serve them quickly.

    Args:
        max_clients: of all gateways together.
        descriptors: open files that a process may have.
        cores: of the machine. One is left to the frame source.
    """
    held_by_each = max(1, math.floor(client_capacity(descriptors) * EVEN_SHARE))
    to_hold = math.ceil(max_clients / held_by_each)
    to_be_quick = min(math.ceil(max_clients / CLIENTS_PER_CORE), cores - 1)
    return min(MAX_WORKERS, max(1, to_hold, to_be_quick))


def workers_here(max_clients: int) -> int:
    """`workers_for` on this machine, with the limit of open files that its processes will have."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return workers_for(max_clients, descriptors=raise_descriptor_limit(), cores=cores)
