"""Starting a process of ours: spawned, with a pipe to its parent, and deaf to the terminal's Ctrl-C from the start."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

_SPAWN = multiprocessing.get_context("spawn")  # never fork: JAX has threads, and so may our caller


def spawn(entry: Callable[..., None], *args: Any, name: str) -> tuple[SpawnProcess, Connection]:
    """Start `entry(*args, pipe)` in a process of its own; returns it, and our end of the pipe.

    Ctrl-C on a terminal reaches the whole process group, and only the parent knows what it means. SIGINT is blocked
    while the process starts, which it inherits: else it could be hit during its imports, before it can ignore it.
    """
    ours, theirs = multiprocessing.Pipe()
    process = _SPAWN.Process(target=entry, args=(*args, theirs), name=f"vfctl {name}", daemon=True)
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
    theirs.close()
    return process, ours
