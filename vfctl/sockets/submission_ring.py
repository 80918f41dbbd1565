"""io_uring: sends the same bytes to many sockets with one system call.

A submission entry has 64 bytes. Only descriptor, address and length change from batch to batch: three slice
assignments with a stride. Only failures have a completion (IOSQE_CQE_SKIP_SUCCESS). See io_uring_setup(2) and
io_uring_enter(2); the structures are those of linux/io_uring.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
import weakref
from typing import Final

import numpy as np
import numpy.typing as npt

MSG_WAIT_ALL: Final = 0x100
SEND_FLAGS: Final = 0x40 | MSG_WAIT_ALL | 0x4000
"""Linux's MSG_DONTWAIT and MSG_NOSIGNAL. With MSG_WAITALL a partial send is a failure, so it has a completion."""

SKIP_SUCCESS: Final = 1 << 6
"""IOSQE_CQE_SKIP_SUCCESS: completions for failures only."""

_ENTRIES: Final = 1024
_OP_SEND: Final = 26
_SETUP_FLAGS: Final = 1 << 7 | 1 << 8 | 1 << 12
"""SUBMIT_ALL, COOP_TASKRUN, SINGLE_ISSUER: Linux 6.0."""
_FEATURE_CQE_SKIP: Final = 1 << 11
_FEATURE_SINGLE_MMAP: Final = 1 << 0
_SETUP_CALL, _ENTER_CALL = 425, 426
_OFFSET_ENTRIES: Final = 0x10000000

_PARAMS_WORDS: Final = 30
_FEATURES_WORD, _SQ_WORD, _CQ_WORD = 5, 10, 20

_ENTRY_WORDS: Final = 16
_FD_WORD, _ADDRESS_LONG, _LENGTH_WORD, _FLAGS_WORD, _USER_DATA_WORD = 1, 2, 6, 7, 8
_COMPLETION: Final = np.dtype([("index", np.uint64), ("result", np.int32), ("flags", np.uint32)])


class SubmissionRing:
    """Sends to sockets without waiting. For one thread, the one that made it.

    Raises:
        OSError: there is no io_uring, it is too old (before Linux 6.0), or it is forbidden.
    """

    def __init__(self) -> None:
        params = np.zeros(_PARAMS_WORDS, np.uint32)
        params[2] = _SETUP_FLAGS
        self._system_call = ctypes.CDLL(None, use_errno=True).syscall
        self._fd = self._checked(self._system_call(_SETUP_CALL, _ENTRIES, ctypes.c_void_p(params.ctypes.data)))
        weakref.finalize(self, os.close, self._fd)
        features = int(params[_FEATURES_WORD])
        if not features & _FEATURE_CQE_SKIP or not features & _FEATURE_SINGLE_MMAP:
            raise OSError(errno.ENOSYS, "io_uring is too old")
        self._map(params.astype(int).tolist())

    def send(
        self, fds: npt.NDArray[np.int32], data: npt.NDArray[np.uint8], taken: npt.NDArray[np.int64]
    ) -> tuple[int, int]:
        """Send the same bytes to sockets. The kernel has copied them when this returns.

        Args:
            fds: int32 [connections].
            data: uint8 [bytes].
            taken: int64 [connections], an output: the number of bytes that each took, or -errno.

        Returns:
            Number of sockets that it tried to send to (all, unless the kernel is out of memory), and of those that took
            all bytes.
        """
        tried = whole = 0
        while tried < len(fds):
            until = min(tried + _ENTRIES, len(fds))
            submitted, failed = self._send_batch(fds[tried:until], data, taken[tried:until])
            tried += submitted
            whole += submitted - failed
            if tried < until:
                break
        return tried, whole

    def _send_batch(
        self, fds: npt.NDArray[np.int32], data: npt.NDArray[np.uint8], taken: npt.NDArray[np.int64]
    ) -> tuple[int, int]:
        count = len(fds)
        end = count * _ENTRY_WORDS
        self._words[_FD_WORD:end:_ENTRY_WORDS] = fds
        self._words[_LENGTH_WORD:end:_ENTRY_WORDS] = len(data)
        self._longs[_ADDRESS_LONG : end // 2 : _ENTRY_WORDS // 2] = data.ctypes.data
        tail = int(self._sq_tail[0])
        start = tail % _ENTRIES
        to_end = min(count, _ENTRIES - start)
        self._order[start : start + to_end] = self._numbers[:to_end]
        self._order[: count - to_end] = self._numbers[to_end:count]
        self._sq_tail[0] = (tail + count) % 2**32
        submitted = self._submit(count)
        if submitted < count:
            self._sq_tail[0] = (tail + submitted) % 2**32
        taken[:] = len(data)
        return submitted, self._read_failures(taken)

    def _submit(self, count: int) -> int:
        submitted = 0
        while submitted < count:
            result = self._system_call(_ENTER_CALL, self._fd, count - submitted, 0, 0, None, 0)
            if result > 0:
                submitted += result
            elif result == 0 or ctypes.get_errno() != errno.EINTR:
                break
        return submitted

    def _read_failures(self, taken: npt.NDArray[np.int64]) -> int:
        head, tail = int(self._cq_head[0]), int(self._cq_tail[0])
        count = (tail - head) % 2**32
        if count:
            failed = self._completions[np.arange(head, head + count) % len(self._completions)]
            taken[failed["index"].astype(np.intp)] = failed["result"]
            self._cq_head[0] = tail
        return count

    def _map(self, params: list[int]) -> None:
        entries, completions = params[0], params[1]
        sq, cq = params[_SQ_WORD : _SQ_WORD + 10], params[_CQ_WORD : _CQ_WORD + 10]
        size = max(sq[6] + 4 * entries, cq[5] + _COMPLETION.itemsize * completions)
        rings = mmap.mmap(self._fd, size)
        words = np.frombuffer(rings, np.uint32, size // 4)
        self._sq_tail, self._order = words[sq[1] // 4 :][:1], words[sq[6] // 4 :][:entries]
        self._cq_head, self._cq_tail = words[cq[0] // 4 :][:1], words[cq[1] // 4 :][:1]
        self._completions = np.frombuffer(rings, _COMPLETION, completions, cq[5])
        self._numbers = np.arange(entries, dtype=np.uint32)
        table = mmap.mmap(self._fd, 4 * _ENTRY_WORDS * entries, offset=_OFFSET_ENTRIES)
        self._words = np.frombuffer(table, np.int32)
        self._longs = np.frombuffer(table, np.uint64)
        self._words[0::_ENTRY_WORDS] = _OP_SEND | SKIP_SUCCESS << 8
        self._words[_FLAGS_WORD::_ENTRY_WORDS] = SEND_FLAGS
        self._words[_USER_DATA_WORD::_ENTRY_WORDS] = self._numbers

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return result


def ring_if_allowed() -> SubmissionRing | None:
    """Return a ring, or None where there is no io_uring: other systems, older kernels, most containers."""
    if sys.platform != "linux":
        return None
    try:
        return SubmissionRing()
    except OSError:
        return None
