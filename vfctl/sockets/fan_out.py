"""Sends one frame to many connections. The time is spent in the kernel, almost none of it in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vfctl.sockets.calls import compiled, send, unsent
from vfctl.sockets.shared_pages import SharedPages
from vfctl.sockets.submission_ring import ring_if_allowed

BATCH: Final = 4
"""Number of sockets from which batching is faster than one call for each."""

SHARED_BYTES: Final = 32 * 1024
"""Frames of this size or more are put into pages that all sockets of a batch share. With frames of 280 KB this halves
the work of the sender and of the receiver (docs/decisions/0006)."""


class FanOut:
    """Sends the same bytes to many non-blocking sockets for which nothing else waits. For one thread.

    Args:
        plain: use send() for every frame. By default small frames are batched with io_uring, where it exists, which
            takes a tenth less time than send(), and large ones use shared pages.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self._ring = None if plain else ring_if_allowed()
        self._pages = None if plain else SharedPages()
        _send_to_all(np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.int64))  # compiles it
        unsent_bytes(np.zeros(0, np.int32))

    @property
    def has_ring(self) -> bool:
        """Whether io_uring is used."""
        return self._ring is not None

    def send(
        self, fds: npt.NDArray[np.int32], pieces: Sequence[bytes | bytearray | memoryview]
    ) -> list[tuple[int, int]]:
        """Send `pieces` to all sockets.

        Args:
            fds: int32 [connections].
            pieces: the bytes.

        Returns:
            Index and bytes taken, for each connection that did not take all bytes.
        """
        taken = np.empty(len(fds), np.int64)
        size = sum(map(len, pieces))
        if self._pages and size >= SHARED_BYTES and len(fds) >= BATCH:
            whole = self._pages.send(fds, pieces, size, taken)
        else:
            data = np.frombuffer(b"".join(pieces), np.uint8)
            tried, whole = self._ring.send(fds, data, taken) if self._ring and len(fds) >= BATCH else (0, 0)
            if tried < len(fds):
                whole += _send_to_all(fds[tried:], data, taken[tried:])
        if whole == len(fds):
            return []
        short = np.flatnonzero(taken != size)
        return [(index, max(0, count)) for index, count in zip(short.tolist(), taken[short].tolist(), strict=True)]


def unsent_bytes(fds: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Bytes that wait in the kernel of each socket and were never sent, int32 [connections]; 0 if unknown."""
    counts = np.zeros(len(fds), np.int32)
    _count_unsent(fds, counts, np.zeros(1, np.int32))
    return counts


@compiled
def _count_unsent(fds: Any, counts: Any, count: Any) -> None:
    for index in range(len(fds)):
        counts[index] = unsent(fds[index], count)


@compiled
def _send_to_all(fds: Any, framed: Any, taken: Any) -> int:
    whole = 0
    for index in range(len(fds)):
        taken[index] = send(fds[index], framed.ctypes.data, len(framed))
        whole += taken[index] == len(framed)
    return whole
