"""io_uring without a library: the rings mapped into Python, one send for each of many sockets, one system call.

A submission entry has 64 bytes, of which only the descriptor differs from socket to socket. So the entries are written
once, and then a batch is a slice assignment with a stride: no Python call a socket. Linux 6.1 or newer.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from array import array

MSG_WAITALL = 0x100
SEND_FLAGS = socket.MSG_DONTWAIT | MSG_WAITALL | socket.MSG_NOSIGNAL
"""MSG_DONTWAIT: the kernel shall not wait in our place. MSG_WAITALL: a part of the bytes counts as a failure."""

SKIP_SUCCESS = 1 << 6
"""IOSQE_CQE_SKIP_SUCCESS: a completion only for what has failed."""

_SETUP_SINGLE_ISSUER = 1 << 12
_SETUP_COOP_TASKRUN = 1 << 8
_OP_SEND = 26
_SYS_SETUP, _SYS_ENTER = 425, 426
_OFFSET_SQES = 0x10000000
_ENTRY = struct.Struct("<BBHiQQIIQ24x")
_COMPLETION = struct.Struct("<QiI")
_WORDS = _ENTRY.size // 4
_DESCRIPTOR_WORD, _USER_DATA_WORD = 1, 8

_system_call = ctypes.CDLL(None, use_errno=True).syscall


class SubmissionRing:
    """Sends what is in a buffer to many sockets.

    Attributes:
        size: sockets a batch.

    Raises:
        OSError: there is no io_uring here, or it is not allowed.
    """

    def __init__(self, size: int) -> None:
        params = bytearray(120)
        struct.pack_into("<I", params, 8, _SETUP_SINGLE_ISSUER | _SETUP_COOP_TASKRUN)
        self._fd = _checked(_system_call(_SYS_SETUP, size, (ctypes.c_char * 120).from_buffer(params)))
        self.size, completions = struct.unpack_from("<II", params)
        sq_tail, sq_array = (struct.unpack_from("<I", params, 40 + at)[0] for at in (4, 24))
        cq_head, cq_tail, self._cqes_at = (struct.unpack_from("<I", params, 80 + at)[0] for at in (0, 4, 20))
        self._mask = completions - 1
        ring_bytes = max(sq_array + 4 * self.size, self._cqes_at + _COMPLETION.size * completions)
        self._ring = memoryview(mmap.mmap(self._fd, ring_bytes))
        words = self._ring[: ring_bytes // 4 * 4].cast("I")
        self._sq_tail = words[sq_tail // 4 :][:1]
        self._cq_head, self._cq_tail = words[cq_head // 4 :][:1], words[cq_tail // 4 :][:1]
        self._order = words[sq_array // 4 :][: self.size]
        self._numbers = array("I", range(self.size))
        self._sqes = memoryview(mmap.mmap(self._fd, _ENTRY.size * self.size, offset=_OFFSET_SQES))
        self._words = self._sqes.cast("i")

    def send_from(self, buffer: bytearray) -> None:
        """From now on send these bytes, as they are at each `send`; the buffer must neither move nor end."""
        self._buffer = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        entry = (_OP_SEND, SKIP_SUCCESS, 0, 0, 0, ctypes.addressof(self._buffer), len(buffer), SEND_FLAGS, 0)
        self._sqes[:] = _ENTRY.pack(*entry) * self.size

    def send(self, descriptors: array[int]) -> list[tuple[int, int]]:
        """Send to at most `size` sockets; the bytes have been copied when this returns.

        Returns:
            The descriptors that have not taken all, with what they have taken, or a negative error number.
        """
        count = len(descriptors)
        self._words[_DESCRIPTOR_WORD : count * _WORDS : _WORDS] = descriptors
        self._words[_USER_DATA_WORD : count * _WORDS : _WORDS] = descriptors
        start = self._sq_tail[0] % self.size
        to_end = min(count, self.size - start)
        self._order[start : start + to_end] = self._numbers[:to_end]
        self._order[: count - to_end] = self._numbers[to_end:count]
        self._sq_tail[0] = (self._sq_tail[0] + count) % 2**32
        if _checked(_system_call(_SYS_ENTER, self._fd, count, 0, 0, None, 0)) != count:
            raise OSError("io_uring has not taken the whole batch")
        return self._failures()

    def _failures(self) -> list[tuple[int, int]]:
        found = []
        head, tail = self._cq_head[0], self._cq_tail[0]
        while head != tail:
            at = self._cqes_at + (head & self._mask) * _COMPLETION.size
            descriptor, result, _ = _COMPLETION.unpack_from(self._ring, at)
            found.append((descriptor, result))
            head = (head + 1) % 2**32
        self._cq_head[0] = head
        return found


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
