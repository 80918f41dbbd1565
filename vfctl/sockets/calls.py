"""libc's calls, callable from Numba's nopython code.

Symbols are bound by name when the machine code is loaded, so that compiled loops can be cached
(`numba.types.ExternalFunction`; a function pointer of ctypes would be an address in the code).
Addresses of arrays are `array.ctypes.data`; the caller keeps the arrays.
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
"""Where in it the descriptor is, if that is its data (as Python's epoll has it)."""

AGAIN: Final = errno.EAGAIN
INTERRUPTED: Final = errno.EINTR
DONT_WAIT: Final = 0x40
NO_SIGNAL: Final = 0x4000
SPLICE_DONT_WAIT: Final = 2

_INT: Final = types.int32
_SIZE: Final = types.intp
_ADDRESS: Final = types.intp


def _imported(name: str, returned: Any, *arguments: Any) -> Any:
    """A function of libc, which every process has loaded."""
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
"""Linux: stamp arrivals with CLOCK_REALTIME in ns. Python has no name for it."""
TCP_INQ: Final = 36
"""Linux: tell with each read how much is left. Python has no name for it."""

_SIOCOUTQNSD: Final = 0x894B
"""linux/sockios.h"""

_STAMP_HEADER: Final = socket.SOL_SOCKET | SO_TIMESTAMPNS << 32
_INQ_HEADER: Final = socket.IPPROTO_TCP | TCP_INQ << 32
_CONTROL_BYTES: Final = 64


def compiled(function: Any) -> Any:
    """Compile at the first call, and keep the machine code for the next process."""
    return numba.njit(cache=True)(function)


@compiled
def errno_now() -> int:
    """The calling thread's errno."""
    return int(numba.carray(_errno_location(), 1)[0])  # type: ignore[attr-defined]


@compiled
def epoll_wait(epoll_fd: int, events_address: int, count: int) -> int:
    """What is ready now, at most `count` events of EVENT_WORDS each; -1 if it failed."""
    return int(_epoll_wait(epoll_fd, events_address, count, 0))


@compiled
def send(fd: int, address: int, size: int) -> int:
    """Send without waiting or SIGPIPE: bytes taken, or -errno."""
    sent = _send(fd, address, size, DONT_WAIT | NO_SIGNAL)
    return int(sent) if sent >= 0 else -errno_now()


@compiled
def vmsplice(pipe_fd: int, parts_address: int, count: int) -> int:
    """Put references to this process's pages into a pipe: bytes, or -errno. A part is (address, length)."""
    filled = _vmsplice(pipe_fd, parts_address, count, SPLICE_DONT_WAIT)
    return int(filled) if filled >= 0 else -errno_now()


@compiled
def tee(from_fd: int, to_fd: int, size: int) -> int:
    """Put what is in a pipe into another as well: bytes, or -errno."""
    copied = _tee(from_fd, to_fd, size, SPLICE_DONT_WAIT)
    return int(copied) if copied >= 0 else -errno_now()


@compiled
def splice(pipe_fd: int, to_fd: int, size: int) -> int:
    """Move what is in a pipe into a non-blocking socket's queue, or a file: bytes taken, or -errno.

    There is no MSG_NOSIGNAL for it; Python ignores SIGPIPE.
    """
    moved = _splice(pipe_fd, 0, to_fd, 0, size, SPLICE_DONT_WAIT)
    return int(moved) if moved >= 0 else -errno_now()


@compiled
def unsent(fd: int, count: Any) -> int:
    """What the kernel has taken for a TCP socket and not sent once, in bytes; 0 where it does not tell.

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
    its one part (address, length), and room for the kernel's stamp. It must not be copied: it points into itself."""
    words = np.zeros(_MESSAGE_WORDS, np.int64)
    words[2] = words.ctypes.data + 8 * _IOV
    words[3] = 1
    words[4] = words.ctypes.data + 8 * _CONTROL
    return words


@compiled
def receive(fd: int, address: int, size: int, message: Any) -> Any:
    """recvmsg(2) of at most `size` bytes, of a TCP socket with SO_TIMESTAMPNS and TCP_INQ.

    Args:
        message: a `received_message`.

    Returns:
        Bytes, or -errno; the kernel's stamp of the last of them, unix time in ns, 0 if there is none; and how many are
        left to read, 0 if that is not told.
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
