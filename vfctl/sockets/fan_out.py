"""One frame to many connections, compiled: a frame costs its system call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vfctl.sockets.calls import compiled, send, send_file

SHARED_BYTES: Final = 32 * 1024
SHARED_BY: Final = 4
"""Frames this large, for so many connections at least, are put into pages that all of their sockets share.

send() copies a frame for each connection; sendfile() puts references to a file's pages into the socket's queue, and the
file is memory (memfd). With 280 KB that halves the sender's work, and the receiver's (docs/decisions/0006)."""


def send_to_all(fds: npt.NDArray[np.int32], pieces: Sequence[bytes | bytearray | memoryview]) -> list[tuple[int, int]]:
    """Send the same bytes to non-blocking sockets for which nothing else waits.

    Args:
        fds: int32 [connections].
        pieces: the bytes, in at most IOV_MAX pieces.

    Returns:
        Of each that did not take all of it: which one, and how many bytes it took.
    """
    taken = np.empty(len(fds), np.int64)
    size = sum(map(len, pieces))
    if size < SHARED_BYTES or len(fds) < SHARED_BY or not _send_shared(fds, pieces, size, taken):
        _send_to_all(fds, np.frombuffer(b"".join(pieces), np.uint8), taken)
    short = np.flatnonzero(taken != size)
    return [(index, max(0, count)) for index, count in zip(short.tolist(), taken[short].tolist(), strict=True)]


def compile_now() -> None:
    """Compile what `send_to_all` needs (a second, once) rather than when the first frame is due."""
    nobody, nothing = np.zeros(0, np.int32), np.zeros(0, np.int64)
    _send_to_all(nobody, np.zeros(0, np.uint8), nothing)
    _send_file_to_all(nobody, -1, 0, nothing)


def _send_shared(
    fds: npt.NDArray[np.int32],
    pieces: Sequence[bytes | bytearray | memoryview],
    size: int,
    taken: npt.NDArray[np.int64],
) -> bool:
    """By way of a file that lives as long as any socket has not sent it: its pages must never change.

    Returns:
        whether there was memory for it.
    """
    file_fd = os.memfd_create("frame", os.MFD_CLOEXEC)
    try:
        if os.writev(file_fd, pieces) < size:
            return False
        _send_file_to_all(fds, file_fd, size, taken)
        return True
    finally:
        os.close(file_fd)


@compiled
def _send_to_all(fds: Any, framed: Any, taken: Any) -> None:
    for index in range(len(fds)):
        taken[index] = send(fds[index], framed.ctypes.data, len(framed))


@compiled
def _send_file_to_all(fds: Any, file_fd: int, size: int, taken: Any) -> None:
    offset = np.zeros(1, np.int64)
    for index in range(len(fds)):
        taken[index] = send_file(fds[index], file_fd, offset, size)
