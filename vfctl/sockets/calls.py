"""System calls of libc for Numba's nopython code.

Symbols are bound by name when the machine code is loaded, so that compiled loops can be cached. (This is
`numba.types.ExternalFunction`; a function pointer of ctypes would be an address in the code.) Addresses of arrays are
`array.ctypes.data`. The caller keeps the arrays alive.
"""

from __future__ import annotations

import errno
import platform
import socket
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba import types

EVENT_WORDS: Final = 3 if platform.machine() == "x86_64" else 4
"""A struct epoll_event is int32 [EVENT_WORDS]; packed on x86-64 (epoll_ctl(2))."""
EVENT_FD: Final = 1 if platform.machine() == "x86_64" else 2
"""Index of the descriptor in an event, if the descriptor is its data, as for Python's epoll."""

AGAIN: Final = errno.EAGAIN
INTERRUPTED: Final = errno.EINTR
DONT_WAIT: Final = 0x40
NO_SIGNAL: Final = 0x4000
SPLICE_DONT_WAIT: Final = 2

_INT: Final = types.int32
_SIZE: Final = types.intp
_ADDRESS: Final = types.intp


def _imported(name: str, returned: Any, *arguments: Any) -> Any:
    """A function of libc, which is loaded in every process."""
    return types.ExternalFunction(name, returned(*arguments))


_epoll_wait = _imported("epoll_wait", _INT, _INT, _ADDRESS, _INT, _INT)
_recvmsg = _imported("recvmsg", _SIZE, _INT, _ADDRESS, _INT)
_send = _imported("send", _SIZE, _INT, _ADDRESS, _SIZE, _INT)
_tee = _imported("tee", _SIZE, _INT, _INT, _SIZE, types.uint32)
_splice = _imported("splice", _SIZE, _INT, _ADDRESS, _INT, _ADDRESS, _SIZE, types.uint32)
_vmsplice = _imported("vmsplice", _SIZE, _INT, _ADDRESS, _SIZE, types.uint32)
_ioctl = _imported("ioctl", _INT, _INT, types.uintp, _ADDRESS)
_errno_location = _imported("__errno_location", types.CPointer(_INT))
_clock_gettime = _imported("clock_gettime", _INT, _INT, _ADDRESS)

SO_TIMESTAMPNS: Final = 35
"""Linux: timestamp arrivals with CLOCK_REALTIME in ns. Python has no name for it."""
TCP_INQ: Final = 36
"""Linux: return with each read how many bytes are left. Python has no name for it."""

_SIOCOUTQNSD: Final = 0x894B
"""linux/sockios.h"""

_STAMP_HEADER: Final = socket.SOL_SOCKET | SO_TIMESTAMPNS << 32
_INQ_HEADER: Final = socket.IPPROTO_TCP | TCP_INQ << 32
_CONTROL_BYTES: Final = 64


def compiled(function: Any) -> Any:
    """Compile at the first call, and cache the machine code for the next process."""
    return numba.njit(cache=True)(function)


@compiled
def errno_now() -> int:
    """The calling thread's errno."""
    return int(numba.carray(_errno_location(), 1)[0])  # type: ignore[attr-defined]


@compiled
def epoll_wait(epoll_fd: int, events_address: int, count: int) -> int:
    """Poll for events: at most `count` of EVENT_WORDS each. Returns their number, or -1."""
    return int(_epoll_wait(epoll_fd, events_address, count, 0))


@compiled
def send(fd: int, address: int, size: int) -> int:
    """Send without waiting and without SIGPIPE. Returns the bytes that the kernel took, or -errno."""
    sent = _send(fd, address, size, DONT_WAIT | NO_SIGNAL)
    return int(sent) if sent >= 0 else -errno_now()


@compiled
def vmsplice(pipe_fd: int, parts_address: int, count: int) -> int:
    """Put references to pages of this process into a pipe. A part is (address, length). Returns bytes, or -errno."""
    filled = _vmsplice(pipe_fd, parts_address, count, SPLICE_DONT_WAIT)
    return int(filled) if filled >= 0 else -errno_now()


@compiled
def tee(from_fd: int, to_fd: int, size: int) -> int:
    """Duplicate the content of a pipe into another. Returns bytes, or -errno."""
    copied = _tee(from_fd, to_fd, size, SPLICE_DONT_WAIT)
    return int(copied) if copied >= 0 else -errno_now()


@compiled
def splice(pipe_fd: int, to_fd: int, size: int) -> int:
    """Move the content of a pipe to a non-blocking socket or a file. Returns bytes, or -errno.

    It has no MSG_NOSIGNAL, but Python ignores SIGPIPE.
    """
    moved = _splice(pipe_fd, 0, to_fd, 0, size, SPLICE_DONT_WAIT)
    return int(moved) if moved >= 0 else -errno_now()


@compiled
def unsent(fd: int, count: Any) -> int:
    """Bytes that wait in the kernel of a TCP socket and were never sent; 0 where the kernel does not say.

    Args:
        count: int32 [1], scratch.
    """
    return int(count[0]) if _ioctl(fd, _SIOCOUTQNSD, count.ctypes.data) == 0 else 0


@compiled
def unix_time_ns(timespec: Any) -> int:
    """CLOCK_REALTIME. `timespec`, int64 [2], is scratch."""
    _clock_gettime(0, timespec.ctypes.data)
    return int(timespec[0] * 1_000_000_000 + timespec[1])


_MESSAGE_WORDS: Final = 17
_IOV: Final = 7
_CONTROL: Final = 9


def received_message() -> npt.NDArray[np.int64]:
    """What `receive` needs, int64 [17]: a msghdr (name, its length, parts, their number, control, its length, flags),
    its one part (address, length), and room for the kernel's timestamp. It must not be copied, because it points into
    itself."""
    words = np.zeros(_MESSAGE_WORDS, np.int64)
    words[2] = words.ctypes.data + 8 * _IOV
    words[3] = 1
    words[4] = words.ctypes.data + 8 * _CONTROL
    return words


@compiled
def receive(fd: int, address: int, size: int, message: Any) -> Any:
    """Receive at most `size` bytes from a TCP socket with SO_TIMESTAMPNS and TCP_INQ, by recvmsg(2).

    Args:
        message: a `received_message`.

    Returns:
        Bytes, or -errno; the kernel's timestamp of the last of them, unix time in ns, 0 if there is none; and the
        number of bytes that are left to read, 0 if unknown.
    """
    message[5] = _CONTROL_BYTES
    message[6] = 0
    message[_IOV] = address
    message[_IOV + 1] = size
    count = _recvmsg(fd, message.ctypes.data, DONT_WAIT)
    if count < 0:
        return -errno_now(), 0, 0
    stamp_ns, left = 0, 0
    at, end = 0, message[5] // 8  # in words; Linux pads control messages to them
    while at + 2 < end:
        if message[_CONTROL + at + 1] == _STAMP_HEADER:
            stamp_ns = message[_CONTROL + at + 2] * 1_000_000_000 + message[_CONTROL + at + 3]
        elif message[_CONTROL + at + 1] == _INQ_HEADER:
            left = message[_CONTROL + at + 2] & 0x7FFFFFFF
        at += max(2, (message[_CONTROL + at] + 7) // 8)
    return int(count), stamp_ns, left
