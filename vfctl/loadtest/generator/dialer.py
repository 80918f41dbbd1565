"""Opens the connections of simulated clients: TCP connect, WebSocket handshake (RFC 6455), and their failures."""

from __future__ import annotations

import base64
import errno
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from vfctl.errors import ProtocolError
from vfctl.loadtest.generator.plan import CONNECT_TIMEOUT_S, Shard
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.loadtest.scenario.roles import SlowReader
from vfctl.protocol.websocket import accept_key
from vfctl.sockets.calls import SO_TIMESTAMPNS, TCP_INQ

MAX_OPENING: Final = 512
"""Concurrent handshakes of one process: enough to keep a server busy, too few to overrun its backlog."""

FIRST_READ_BYTES: Final = 16 * 1024

MAX_RESPONSE_BYTES: Final = 16 * 1024
"""No WebSocket server sends a longer response header."""

IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Linux: choose the port at connect, when the destination is known, not at bind. Python has no name for it."""

_HEADER_END: Final = b"\r\n\r\n"
_MAX_REASON_CHARACTERS: Final = 200
"""One line of a refusal is reported, up to this length."""


class DialHandler(Protocol):
    """Is notified of the end of each attempt."""

    def on_open(self, client: SimulatedClient, rest: bytes) -> None:
        """The handshake is done; `rest` arrived after the response header."""

    def on_open_failed(self, client: SimulatedClient, reason: str) -> None:
        """The attempt failed; the handler closes the socket."""


class Dialer:
    """Opens connections.

    It has an epoll instance of its own and answers handshakes at once, because the kernel does not stamp how long a
    handshake takes. Messages are read in batches elsewhere.

    Args:
        shard: the target, and the source addresses.
        call_later: calls a function after a delay in seconds.
        handler: is notified of the end of each attempt.

    Attributes:
        opening: attempts in progress.
    """

    def __init__(
        self, shard: Shard, call_later: Callable[[float, Callable[[], None]], None], handler: DialHandler
    ) -> None:
        self._shard = shard
        self._epoll = select.epoll()
        self._by_fd: dict[int, SimulatedClient] = {}
        self._call_later = call_later
        self._handler = handler
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
            self._set_options(sock, client)
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
        self._call_later(CONNECT_TIMEOUT_S, lambda: self._time_out(client, attempt))

    def work(self, until_s: float) -> None:
        """Continue the handshakes until that time (monotonic), or until none is in progress.

        It polls at least once, so that handshakes do not time out in a generator that has no time left.
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
        """Close the epoll instance."""
        self._epoll.close()

    def end_attempt(self, client: SimulatedClient) -> None:
        """End the attempt of a client, if there is one; the caller closes its socket."""
        self.opening -= client.opening
        client.opening = False
        if client.socket is not None:
            self._by_fd.pop(client.socket.fileno(), None)

    def _set_options(self, sock: socket.socket, client: SimulatedClient) -> None:
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
            self.end_attempt(client)
            self._handler.on_open(client, rest)

    def _fail(self, client: SimulatedClient, reason: str) -> None:
        self.end_attempt(client)
        self._handler.on_open_failed(client, reason)


def reason_of(code: int | None) -> str:
    """The text of an errno, in lower case."""
    return os.strerror(code).lower() if code else "unknown error"


def new_key() -> str:
    """A new Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16)).decode()


def request(host: str, resource: str, key: str) -> bytes:
    """The upgrade request. It offers no extensions, because deflate would cost 50 to 300 KB per connection."""
    return (
        f"GET {resource} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nUser-Agent: vfctl\r\n\r\n"
    ).encode()


def check_response(response: bytes, key: str) -> int | None:
    """The length of the response header in bytes; None if it is not complete yet. Frames follow it.

    Raises:
        ProtocolError: the response does not accept this upgrade request.
    """
    end = response.find(_HEADER_END)
    if end < 0:
        if len(response) > MAX_RESPONSE_BYTES:
            raise ProtocolError("a response header without an end", offset=len(response))
        return None
    status, *lines = response[:end].decode("latin-1").split("\r\n")
    parts = status.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/"):
        raise ProtocolError("not an HTTP response", offset=0)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if parts[1] != "101":
        answer = " ".join(parts[1:]).rstrip()
        reason = _refusal(headers.get("content-type", ""), response[end + len(_HEADER_END) :])
        raise ProtocolError(f"answered HTTP {answer}" + (f", {reason}" if reason else ""), offset=0)
    if headers.get("sec-websocket-accept") != accept_key(key):
        raise ProtocolError("a Sec-WebSocket-Accept that does not belong to our key", offset=0)
    if "sec-websocket-extensions" in headers:
        raise ProtocolError("an extension that was not asked for", offset=0)
    return end + len(_HEADER_END)


def _refusal(content_type: str, body: bytes) -> str:
    """The first line of a refusal, if it is plain text and arrived with the header; else empty."""
    if content_type.partition(";")[0].strip().lower() != "text/plain":
        return ""
    line = body.partition(b"\n")[0].decode(errors="replace")
    return "".join(letter for letter in line if letter.isprintable())[:_MAX_REASON_CHARACTERS].strip()
