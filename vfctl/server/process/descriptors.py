"""How many connections a process can hold: the limit of open files."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

RESERVED_DESCRIPTORS: Final = 200
"""Kept for what is not a client: libraries, pipes, the bus, connections that are just being refused."""


def raise_descriptor_limit() -> int:
    """Lift the soft limit of open files to the hard one; returns what holds then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a hard limit of infinity is more than some kernels grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft


def client_capacity(descriptors: int) -> int:
    """How many clients a process with so many descriptors takes."""
    return max(1, descriptors - RESERVED_DESCRIPTORS)
