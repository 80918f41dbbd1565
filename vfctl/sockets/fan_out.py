"""One frame to many connections: it costs its way through the kernel, and next to nothing before that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vfctl.sockets.calls import compiled, send, send_file
from vfctl.sockets.submission_ring import ring_if_allowed

BATCH: Final = 4
"""Sockets from which on it pays to prepare something for all of them; for fewer, a call for each is as good."""

SHARED_BYTES: Final = 32 * 1024
"""Frames this large are put into pages that all sockets of a batch share.

send() copies a frame for each connection; sendfile() puts references to a file's pages into the socket's queue, and the
file is memory (memfd). With 280 KB that halves the sender's work, and the receiver's (docs/decisions/0006)."""


class FanOut:
    """Sends the same bytes to many non-blocking sockets for which nothing else waits. For one thread.

    Args:
        ring: whether io_uring may be used, where it is there. Its batches take an eighth less of the kernel's time than
            as many calls of send().
    """

    def __init__(self, *, ring: bool = True) -> None:
        self._ring = ring_if_allowed() if ring else None
        nobody, nothing = np.zeros(0, np.int32), np.zeros(0, np.int64)
        _send_to_all(nobody, np.zeros(0, np.uint8), nothing)  # compiles it now, and not when the first frame is due
        _send_file_to_all(nobody, -1, 0, nothing)

    @property
    def has_ring(self) -> bool:
        """Whether io_uring is used."""
        return self._ring is not None

    def close(self) -> None:
        """Give back what the kernel has lent."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def send(
        self, fds: npt.NDArray[np.int32], pieces: Sequence[bytes | bytearray | memoryview]
    ) -> list[tuple[int, int]]:
        """Send to all of them.

        Args:
            fds: int32 [connections].
            pieces: the bytes, in at most IOV_MAX pieces.

        Returns:
            Of each that did not take all of it: which one, and how many bytes it took.
        """
        taken = np.empty(len(fds), np.int64)
        size = sum(map(len, pieces))
        whole = _send_shared(fds, pieces, size, taken) if size >= SHARED_BYTES and len(fds) >= BATCH else None
        if whole is None:
            data = np.frombuffer(b"".join(pieces), np.uint8)
            tried, whole = self._ring.send(fds, data, taken) if self._ring and len(fds) >= BATCH else (0, 0)
            if tried < len(fds):
                whole += _send_to_all(fds[tried:], data, taken[tried:])
        if whole == len(fds):
            return []
        short = np.flatnonzero(taken != size)
        return [(index, max(0, count)) for index, count in zip(short.tolist(), taken[short].tolist(), strict=True)]


def _send_shared(
    fds: npt.NDArray[np.int32],
    pieces: Sequence[bytes | bytearray | memoryview],
    size: int,
    taken: npt.NDArray[np.int64],
) -> int | None:
    """By way of a file that lives as long as any socket has not sent it: its pages must never change.

    Returns:
        how many took all of it; None if there was no memory for the file.
    """
    file_fd = os.memfd_create("frame", os.MFD_CLOEXEC)
    try:
        if os.writev(file_fd, pieces) < size:
            return None
        return int(_send_file_to_all(fds, file_fd, size, taken))
    finally:
        os.close(file_fd)


@compiled
def _send_to_all(fds: Any, framed: Any, taken: Any) -> int:
    whole = 0
    for index in range(len(fds)):
        taken[index] = send(fds[index], framed.ctypes.data, len(framed))
        whole += taken[index] == len(framed)
    return whole


@compiled
def _send_file_to_all(fds: Any, file_fd: int, size: int, taken: Any) -> int:
    offset, whole = np.zeros(1, np.int64), 0
    for index in range(len(fds)):
        taken[index] = send_file(fds[index], file_fd, offset, size)
        whole += taken[index] == size
    return whole
