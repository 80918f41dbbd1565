"""One connection as its gateway sees it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from aiohttp import WSCloseCode, web

from vfctl.protocol import History
from vfctl.server.gateway.protocol_wrapper import ProtocolWrapper
from vfctl.stream import Audience, Backlog, ConnectionOptions
from vfctl.stream.voice_limit import VoiceLimit


class ClientSocket(web.WebSocketResponse):
    """aiohttp's side of a connection, which says so before it writes to the transport by itself.

    Attributes:
        before_write: called before an answer to a ping.
        before_close: called before a Close frame; nothing may follow that (RFC 6455, 5.5.1).
    """

    before_write: Callable[[], None] | None = None
    before_close: Callable[[], None] | None = None

    async def pong(self, message: bytes = b"") -> None:
        if self.before_write is not None:
            self.before_write()
        await super().pong(message)

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = False) -> bool:
        """Never waits until all is taken, whatever `drain` says: a client that does not read would keep it for good."""
        if self.before_close is not None:
            self.before_close()
        return await super().close(code=code, message=message, drain=False)


class LossWatch(ProtocolWrapper):
    """Between a transport and its protocol: says that the connection is lost while its descriptor is still its own.

    A transport closes its descriptor right after it has called `connection_lost` (asyncio and uvloop alike), and the
    next connection may get the same number. The task that serves a connection hears of its end a little later.
    """

    __slots__ = ("_lost", "data_received")

    def __init__(self, protocol: asyncio.Protocol, lost: Callable[[], None]) -> None:
        super().__init__(protocol)
        self._lost = lost
        self.data_received = protocol.data_received  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
        super().connection_lost(exc)


class Connection:
    """A WebSocket connection. Compared and hashed by identity.

    Attributes:
        number: from 1, unique on its gateway as long as the gateway lives.
        place: in the Roster; -1 if it has none.
        socket: for what is said once (close frames); states are written to `transport`, framed already.
        subscription: what its URL chose.
        audience: with whom it shares frames; follows its filter.
        owed_graph: a FullGraph (after a FilterUpdate, or of another graph) that could not be written yet.
        fd: the transport's descriptor, to which may be written past it while nothing waits in it; -1 if that cannot be,
            as with TLS.
        leaving: a Close frame has been written, or is about to be; or it has ended.
        ended: the transport has called `connection_lost`.
        cut: ends it if it does not end by itself; None while it need not.
        history: which states it has, if it speaks COMPACT; None: none since its last FullGraph.
        takes_part: the source has had something from it, and has to hear that it goes.
        voice_limit: how much it may still say; None before it has said anything.
        heard_us: when something last came from it, monotonic µs; a heartbeat of ours also resets it.
    """

    __slots__ = (
        "audience",
        "backlog",
        "cut",
        "ended",
        "fd",
        "heard_us",
        "history",
        "leaving",
        "number",
        "owed_graph",
        "place",
        "socket",
        "subscription",
        "takes_part",
        "transport",
        "voice_limit",
    )

    def __init__(
        self,
        number: int,
        socket: ClientSocket,
        transport: asyncio.Transport,
        subscription: ConnectionOptions,
        audience: Audience,
        now_us: int,
    ) -> None:
        self.number = number
        self.place = -1
        self.socket = socket
        self.transport = transport
        self.fd = _descriptor(transport)
        self.subscription = subscription
        self.audience = audience
        self.backlog = Backlog()
        self.owed_graph = False
        self.leaving = False
        self.ended = False
        self.cut: asyncio.TimerHandle | None = None
        self.takes_part = False
        self.heard_us = now_us
        self.history: History | None = None
        self.voice_limit: VoiceLimit | None = None


def _descriptor(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or transport.get_extra_info("sslcontext") is not None:
        return -1
    return int(sock.fileno())
