"""One frame to many connections, compiled: a frame costs its system call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vfctl.sockets.calls import compiled, send


def send_to_all(fds: npt.NDArray[np.int32], framed: bytes) -> list[tuple[int, int]]:
    """Send the same bytes to non-blocking sockets for which nothing else waits.

    Args:
        fds: int32 [connections].

    Returns:
        Of each that did not take all of it: which one, and how many bytes it took.
    """
    taken = np.empty(len(fds), np.int64)
    _send_to_all(fds, np.frombuffer(framed, np.uint8), taken)
    short = np.flatnonzero(taken != len(framed))
    return [(index, max(0, count)) for index, count in zip(short.tolist(), taken[short].tolist(), strict=True)]


@compiled
def _send_to_all(fds: Any, framed: Any, taken: Any) -> None:
    for index in range(len(fds)):
        taken[index] = send(fds[index], framed.ctypes.data, len(framed))
