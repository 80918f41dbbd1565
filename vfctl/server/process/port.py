"""The port that all gateways of a server share."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass
from typing import Any, Final

from vfctl.errors import InputError, UsageError

BACKLOG: Final = 4096
"""Connections that wait to be accepted; a ramp of thousands a second must not be answered with resets."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port as the parent holds it and hands it to each gateway it spawns.

    Attributes:
        host: as it was asked for.
        number: the port.
        held: the parent's socket. With SO_REUSEPORT it is bound and never listens: it only keeps the port while no
            gateway lives. Without, it listens, and the gateways inherit it.
        inherited: whether they do.
    """

    host: str
    number: int
    held: socket.socket | None
    inherited: bool = False

    def for_gateway(self) -> Port:
        """What a gateway is given: the socket only if it is to accept from it."""
        return self if self.inherited else Port(self.host, self.number, None)

    def open(self) -> socket.socket:
        """In a gateway: the socket to accept from; it may not listen yet."""
        if self.held is not None:
            return self.held
        family, address = _resolve(self.host, self.number)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        return listener

    def close(self) -> None:
        """In the parent: give the port up."""
        if self.held is not None:
            self.held.close()


def can_share() -> bool:
    """Whether several sockets may listen on one port here, and the kernel spreads connections over them.

    One inherited socket works everywhere, but there whoever wakes up first accepts, and that is seldom fair.
    """
    return hasattr(socket, "SO_REUSEPORT")


def reserve_port(host: str, port: int) -> Port:
    """Take a port for the gateways to come; 0 takes a free one.

    Raises:
        UsageError: the host is not an address of this machine, or the port is out of range.
        InputError: somebody else has the port, or may not be bound to it.
    """
    try:
        family, address = _resolve(host, port)
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error}") from None
    share = can_share()
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        if port and share:
            # With SO_REUSEPORT a second server would silently share the port; without it the bind tells.
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
        hint = "stop what runs there, or choose another with --port" if error.errno == errno.EADDRINUSE else None
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint) from None
    return Port(host, held.getsockname()[1], held, inherited=not share)


def _resolve(host: str, port: int) -> tuple[int, Any]:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return family, address
