"""Opens the connections of simulated clients: TCP connect, WebSocket handshake, and all that can go wrong with them."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from vfctl.errors import ProtocolError
from vfctl.loadtest.generator.handshake import check_response, new_key, request
from vfctl.loadtest.generator.plan import CONNECT_TIMEOUT_S, Shard
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.loadtest.scenario.roles import SlowReader
from vfctl.sockets.calls import SO_TIMESTAMPNS, TCP_INQ

MAX_OPENING: Final = 512
"""Handshakes under way at once in one process: enough to keep a server busy, too few to overrun its backlog."""

FIRST_READ_BYTES: Final = 16 * 1024

IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Linux: choose the port at connect, when the destination is known, not at bind. Python has no name for it."""


class Opened(Protocol):
    """Told of each attempt's end."""

    def on_open(self, client: SimulatedClient, rest: bytes) -> None:
        """The handshake is done; `rest` came behind it."""

    def on_open_failed(self, client: SimulatedClient, reason: str) -> None:
        """It failed; the socket is still there to be dropped."""


class Dialer:
    """Opens connections. It has an epoll of its own, so that handshakes are answered as they come, while messages are
    read in batches: how long a handshake takes has no kernel's stamp.

    Args:
        shard: where to, and from where.
        after: calls back after so many seconds.
        opened: told how it went.

    Attributes:
        opening: attempts under way.
    """

    def __init__(
        self,
        shard: Shard,
        after: Callable[[float, Callable[[], None]], None],
        opened: Opened,
    ) -> None:
        self._shard = shard
        self._epoll = select.epoll()
        self._by_fd: dict[int, SimulatedClient] = {}
        self._after = after
        self._opened = opened
        self.opening = 0

    def open(self, client: SimulatedClient) -> None:
        """Begin an attempt."""
        target = self._shard.target
        client.attempt += 1
        client.started_ns = time.monotonic_ns()
        self.opening += 1
        client.opening = True
        try:
            sock = client.socket = socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._set_up(sock, client)
            code = sock.connect_ex(target.address)
        except OSError as error:
            self._fail(client, reason_of(error.errno))
            return
        if code not in (0, errno.EINPROGRESS):
            self._fail(client, reason_of(code))
            return
        fd = sock.fileno()
        self._by_fd[fd] = client
        self._epoll.register(fd, select.EPOLLOUT)
        attempt = client.attempt
        self._after(CONNECT_TIMEOUT_S, lambda: self._time_out(client, attempt))

    def work(self, until_s: float) -> None:
        """Go on with the handshakes until then (monotonic), or until none is under way.

        A look is taken in any case: a generator that has no time left must not let its handshakes time out.
        """
        left_s = 1.0
        while self.opening and left_s:
            left_s = max(0.0, until_s - time.monotonic())
            for fd, _ in self._epoll.poll(left_s, MAX_OPENING):
                client = self._by_fd.get(fd)
                if client is not None:
                    if client.key:
                        self._read_response(client)
                    else:
                        self._send_request(client)

    def close(self) -> None:
        """Release the epoll."""
        self._epoll.close()

    def settle(self, client: SimulatedClient) -> None:
        """The attempt is over, or not wanted any more; the caller drops its socket."""
        self.opening -= client.opening
        client.opening = False
        if client.socket is not None:
            self._by_fd.pop(client.socket.fileno(), None)

    def _set_up(self, sock: socket.socket, client: SimulatedClient) -> None:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_INQ, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        role = self._shard.roles[client.role]
        if isinstance(role, SlowReader):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, role.receive_buffer_bytes)
        sources = self._shard.source_addresses
        if sources:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((sources[client.number % len(sources)], 0))

    def _time_out(self, client: SimulatedClient, attempt: int) -> None:
        if client.attempt == attempt and client.opening:
            self._fail(client, "connect timed out")

    def _send_request(self, client: SimulatedClient) -> None:
        sock = client.socket
        assert sock is not None
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(client, reason_of(code))
            return
        client.key = new_key()
        client.handshake = b""
        try:
            sock.send(request(self._shard.target.host, self._shard.resources[client.role], client.key))
        except OSError as error:
            self._fail(client, reason_of(error.errno))
            return
        self._epoll.modify(sock.fileno(), select.EPOLLIN)

    def _read_response(self, client: SimulatedClient) -> None:
        assert client.socket is not None
        try:
            data = client.socket.recv(FIRST_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(client, reason_of(error.errno))
            return
        if not data:
            self._fail(client, "closed during the handshake")
            return
        client.handshake += data
        try:
            length = check_response(client.handshake, client.key)
        except ProtocolError as error:
            self._fail(client, error.reason)
            return
        if length is not None:
            rest, client.handshake = client.handshake[length:], b""
            self._epoll.unregister(client.socket.fileno())
            self.settle(client)
            self._opened.on_open(client, rest)

    def _fail(self, client: SimulatedClient, reason: str) -> None:
        self.settle(client)
        self._opened.on_open_failed(client, reason)


def reason_of(code: int | None) -> str:
    """What an errno means, in small letters."""
    return os.strerror(code).lower() if code else "unknown error"
