"""One WebSocket connection: aiohttp's side of it, and what the gateway keeps about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, web

from vfctl.protocol import History
from vfctl.stream import Audience, Backlog, ConnectionOptions
from vfctl.stream.voice_limit import VoiceLimit


class ClientSocket(web.WebSocketResponse):
    """aiohttp's side of a connection. It calls hooks before aiohttp writes to the transport by itself.

    Attributes:
        before_write: called before the answer to a ping.
        before_close: called before a Close frame. Nothing may follow a Close frame (RFC 6455, 5.5.1).
    """

    before_write: Callable[[], None] | None = None
    before_close: Callable[[], None] | None = None

    async def pong(self, message: bytes = b"") -> None:
        if self.before_write is not None:
            self.before_write()
        await super().pong(message)

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = False) -> bool:
        """Send a Close frame. Ignores `drain`, because a client that does not read would block it forever."""
        if self.before_close is not None:
            self.before_close()
        return await super().close(code=code, message=message, drain=False)


@dataclass(slots=True, eq=False)
class Connection:
    """A WebSocket connection. Compared and hashed by identity.

    Attributes:
        number: from 1, unique among the open connections of its gateway.
        socket: for Close frames. Everything else is framed already and goes to `transport`.
        options: the choices in its URL.
        audience: the connections that receive the same frames; changes with the filter.
        last_received_us: monotonic time in µs of the last message from the client, or of our last heartbeat.
        slot: index in ConnectionSlots; -1 without one.
        fd: the transport's file descriptor, for direct writes; -1 if they are impossible, as with TLS.
        backlog: bytes that wait for this client.
        graph_pending: a FullGraph is due, but earlier bytes still wait.
        closing: a Close frame is written, or the connection has ended.
        ended: the transport has called `connection_lost`.
        abort_timer: aborts the connection if the client does not end it; None before the closing handshake.
        has_sent_commands: the source knows this client, and must be told when it disconnects.
        history: the states that a COMPACT client has; None before the first after a FullGraph.
        voice_limit: rate limit of its voice messages; None before the first one.
    """

    number: int
    socket: ClientSocket
    transport: asyncio.Transport
    options: ConnectionOptions
    audience: Audience
    last_received_us: int
    slot: int = -1
    fd: int = field(init=False)
    backlog: Backlog = field(default_factory=Backlog)
    graph_pending: bool = False
    closing: bool = False
    ended: bool = False
    abort_timer: asyncio.TimerHandle | None = None
    has_sent_commands: bool = False
    history: History | None = None
    voice_limit: VoiceLimit | None = None

    def __post_init__(self) -> None:
        self.fd = _descriptor(self.transport)

    @property
    def is_open(self) -> bool:
        """Whether frames may still be written to it."""
        return not (self.closing or self.transport.is_closing())


def _descriptor(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or transport.get_extra_info("sslcontext") is not None:
        return -1
    return int(sock.fileno())
