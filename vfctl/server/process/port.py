"""The port that all gateways of a server share."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass
from typing import Any, Final

from vfctl.errors import InputError, UsageError

BACKLOG: Final = 4096
"""Connections that wait to be accepted. A ramp of thousands a second must not be answered with resets."""


@dataclass(frozen=True, slots=True)
class Port:
    """A reserved port, in the parent and in each gateway.

    Attributes:
        host: as configured.
        number: of the port.
        held: the parent's socket. With SO_REUSEPORT it is bound and never listens: it only reserves the port while no
            gateway runs. Without SO_REUSEPORT it listens, and the gateways inherit it.
        inherited: whether the gateways inherit the socket.
    """

    host: str
    number: int
    held: socket.socket | None
    inherited: bool = False

    def for_gateway(self) -> Port:
        """What a gateway gets: the socket only if it inherits it."""
        return self if self.inherited else Port(self.host, self.number, None)

    def open(self) -> socket.socket:
        """In a gateway: the socket that accepts connections. It may not listen yet."""
        if self.held is not None:
            return self.held
        family, address = _resolve(self.host, self.number)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        return listener

    def close(self) -> None:
        """In the parent: release the port."""
        if self.held is not None:
            self.held.close()


def can_share() -> bool:
    """Whether several sockets may listen on one port, so that the kernel distributes the connections.

    One inherited socket works everywhere, but then the process that wakes up first accepts, which is seldom fair.
    """
    return hasattr(socket, "SO_REUSEPORT")


def reserve_port(host: str, port: int) -> Port:
    """Reserve a port for the gateways.

    Args:
        host: name or address to listen on.
        port: 0 chooses a free one.

    Raises:
        UsageError: the host is not an address of this machine, or the port is out of range.
        InputError: the port is in use, or this process may not use it.
    """
    try:
        family, address = _resolve(host, port)
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error}") from None
    share = can_share()
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        if port and share:
            # With SO_REUSEPORT a second server would silently share the port. Without it, bind fails.
            with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
        if not share:
            held.listen(BACKLOG)
    except OSError as error:
        held.close()
        hint = (
            "stop the program that uses it, or choose another port with --port"
            if error.errno == errno.EADDRINUSE
            else None
        )
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint) from None
    return Port(host, held.getsockname()[1], held, inherited=not share)


def _resolve(host: str, port: int) -> tuple[int, Any]:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return family, address
