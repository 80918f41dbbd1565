"""The compiled socket calls, on real sockets."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from vfctl.sockets.calls import (
    EVENT_FD,
    EVENT_WORDS,
    SO_TIMESTAMPNS,
    TCP_INQ,
    epoll_wait,
    receive,
    received_message,
    send,
    unix_time_ns,
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setblocking(False)
    with near, far:
        yield near, far


def take(sock: socket.socket, size: int = 100) -> tuple[int, int, int, bytes]:
    buffer = np.zeros(size, np.uint8)
    count, stamp_ns, left = receive(sock.fileno(), buffer.ctypes.data, size, received_message())
    return count, stamp_ns, left, buffer[: max(0, count)].tobytes()


def stamps_begin(near: socket.socket, far: socket.socket) -> None:
    """The kernel switches its stamps on a moment after the first socket has asked for them."""
    near.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    for _ in range(1000):
        far.sendall(b"?")
        select.select([near], [], [])
        if take(near)[1]:
            return
        time.sleep(0.001)
    pytest.fail("no stamps")


def test_what_is_received_has_the_kernels_stamp(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    stamps_begin(near, far)
    before_ns = time.time_ns()
    far.sendall(b"hello, world")
    select.select([near], [], [])
    after_ns = time.time_ns()
    count, stamp_ns, left, data = take(near, 5)
    assert (count, left, data) == (5, 0, b"hello")
    assert before_ns <= stamp_ns <= after_ns
    assert take(near)[3] == b", world"


def test_how_much_is_left_is_told_beside_the_stamp(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    near.setsockopt(socket.IPPROTO_TCP, TCP_INQ, 1)
    far.sendall(b"hello, world")
    select.select([near], [], [])
    assert take(near, 5) == (5, 0, 7, b"hello")
    assert take(near) == (7, 0, 0, b", world")
    stamps_begin(near, far)
    far.sendall(b"hello")
    far.sendall(b"again")
    count, stamp_ns, left, data = take(near, 3)
    assert (count, left, data) == (3, 7, b"hel")
    assert stamp_ns > 0


def test_without_a_stamp_there_is_none(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    far.sendall(b"x")
    select.select([near], [], [])
    assert take(near) == (1, 0, 0, b"x")


def test_nothing_to_read_an_end_and_a_bad_descriptor(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    assert take(near)[0] == -errno.EAGAIN
    far.shutdown(socket.SHUT_WR)
    select.select([near], [], [])
    assert take(near)[0] == 0
    assert receive(-1, 0, 0, received_message())[0] == -errno.EBADF


def test_send_takes_what_fits_and_raises_no_signal(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    data = np.frombuffer(b"a" * 2**20, np.uint8)
    taken = 0
    while (count := send(near.fileno(), data.ctypes.data, len(data))) > 0:
        taken += count
    assert count == -errno.EAGAIN
    assert taken > 0
    far.close()
    deadline_s = time.monotonic() + 5
    while send(near.fileno(), data.ctypes.data, 1) not in (-errno.EPIPE, -errno.ECONNRESET):
        assert time.monotonic() < deadline_s


def test_epoll_tells_whose_data_has_come(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    events = np.zeros((4, EVENT_WORDS), np.int32)
    with select.epoll() as epoll:
        epoll.register(near, select.EPOLLIN)
        epoll.register(far, select.EPOLLIN)
        assert epoll_wait(epoll.fileno(), events.ctypes.data, 4) == 0
        far.sendall(b"x")
        select.select([near], [], [])
        assert epoll_wait(epoll.fileno(), events.ctypes.data, 4) == 1
        assert events[0, EVENT_FD] == near.fileno()
        assert events[0, 0] == select.EPOLLIN


def test_the_clock_is_unix_time() -> None:
    before_ns = time.time_ns()
    assert before_ns <= unix_time_ns(np.zeros(2, np.int64)) <= time.time_ns()
