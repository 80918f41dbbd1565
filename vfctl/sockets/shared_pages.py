"""Sends a large frame to many sockets, whose queues all refer to the same pages of memory.

send() copies a frame for each socket. Here the pages of the frame are put into a pipe once (vmsplice). For each socket
the pipe is duplicated (tee) and moved into the queue of the socket (splice). These copy references, not bytes. The
pages are mapped for the frame and unmapped afterwards. The kernel keeps them until the last socket has sent them.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vfctl.sockets.calls import compiled, splice, tee, vmsplice

PIPE_BYTES: Final = 1024 * 1024
"""Largest pipe without privileges (/proc/sys/fs/pipe-max-size). A longer frame is sent in parts."""


class SharedPages:
    """Sends to non-blocking sockets for which nothing else waits.

    Raises:
        OSError: there are not enough descriptors for two pipes.
    """

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            pipes = [self._open_pipe(stack) for _ in range(2)]
            null_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            stack.callback(os.close, null_fd)
            weakref.finalize(self, stack.pop_all().close)
        (self._from, self._to), (self._copy_from, self._copy_to) = pipes
        self._null_fd = null_fd
        self._capacity = min(fcntl.fcntl(end, fcntl.F_GETPIPE_SZ) for end, _ in pipes)
        _send_part(np.zeros(0, np.int32), self._pipe_ends(), 0, 0, np.zeros(0, np.int64))  # compiles it now
        _fill(self._to, 0, 0, np.zeros(2, np.int64))

    @staticmethod
    def _open_pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for end in ends:
            stack.callback(os.close, end)
        with contextlib.suppress(OSError):  # the user's pipes are too large in total: this one stays small
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return ends

    def send(
        self,
        fds: npt.NDArray[np.int32],
        pieces: Sequence[bytes | bytearray | memoryview],
        size: int,
        taken: npt.NDArray[np.int64],
    ) -> int:
        """Send the same bytes to all of them.

        Args:
            fds: int32 [connections].
            pieces: the bytes.
            size: number of bytes.
            taken: int64 [connections], an output: the number of bytes that each took.

        Returns:
            Number of connections that took all bytes.
        """
        taken[:] = 0
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        try:
            pages = mmap.mmap(-1, size, flags=flags)
        except OSError:
            return 0  # out of memory
        with pages:
            for piece in pieces:
                pages.write(piece)
            address = np.frombuffer(pages, np.uint8).ctypes.data
            for start in range(0, size, self._capacity):
                part = min(self._capacity, size - start)
                filled = int(_fill(self._to, address + start, part, np.empty(2, np.int64)))
                sent = filled == part and _send_part(fds, self._pipe_ends(), start, part, taken)
                left = filled
                while left > 0:
                    left -= os.splice(self._from, self._null_fd, left)
                if filled < part:
                    break  # out of memory
                if not sent:
                    raise OSError("the pipe of copies could not be emptied")
        return int(np.count_nonzero(taken == size))

    def _pipe_ends(self) -> tuple[int, int, int, int]:
        return self._from, self._copy_to, self._copy_from, self._null_fd


@compiled
def _fill(pipe_fd: int, address: int, size: int, part: Any) -> int:
    part[0], part[1] = address, size
    return int(vmsplice(pipe_fd, part.ctypes.data, 1))


@compiled
def _send_part(fds: Any, pipe_ends: Any, start: int, size: int, taken: Any) -> bool:
    """Send to sockets that took everything before `start`; False if the pipe of copies could not be emptied."""
    from_fd, copy_to_fd, copy_from_fd, null_fd = pipe_ends
    for index in range(len(fds)):
        if taken[index] != start:
            continue
        copied = tee(from_fd, copy_to_fd, size)
        if copied <= 0:
            continue
        sent = max(0, splice(copy_from_fd, fds[index], copied))
        left = copied - sent
        while left > 0:
            dropped = splice(copy_from_fd, null_fd, left)
            if dropped <= 0:
                return False
            left -= dropped
        taken[index] += sent
    return True
