"""One connection as its gateway sees it."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from vfctl.protocol import History, Trailer
from vfctl.stream import Audience, Backlog, Subscription


class Connection:
    """A WebSocket connection. Compared and hashed by identity.

    Attributes:
        number: from 1, unique on its gateway as long as the gateway lives.
        socket: for what is said once (close frames); states are written to `transport`, framed already.
        subscription: what its URL chose.
        audience: with whom it shares frames; follows its filter.
        owed_graph: a FullGraph (after a FilterUpdate, or of another graph) that could not be written yet.
        fd: the transport's descriptor, to which may be written past it while nothing waits in it; -1 if that cannot be,
            as with TLS.
        in_step: whether frames may be sent past the transport as long as nothing waits in it: it has a descriptor for
            that, took the last frame in time and is not owed a FullGraph. Kept by the ClientManager.
        history: which states it has, if it speaks COMPACT; None: none since its last FullGraph.
        heard_us: when something last came from it, monotonic µs; a heartbeat of ours also resets it.
    """

    __slots__ = (
        "_voice_sequences",
        "audience",
        "backlog",
        "fd",
        "heard_us",
        "history",
        "in_step",
        "number",
        "owed_graph",
        "socket",
        "subscription",
        "transport",
    )

    def __init__(
        self,
        number: int,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        subscription: Subscription,
        audience: Audience,
        now_us: int,
    ) -> None:
        self.number = number
        self.socket = socket
        self.transport = transport
        self.fd = _descriptor(transport)
        self.subscription = subscription
        self.audience = audience
        self.backlog = Backlog()
        self.owed_graph = False
        self.in_step = self.fd >= 0
        self.heard_us = now_us
        self.history: History | None = None
        self._voice_sequences: dict[int, int] | None = None

    def voice_trailer(self, stream: int, now_us: int) -> Trailer:
        """The trailer of the next message of a voice stream: its sequence counts what this connection gets of it.

        Args:
            now_us: unix time in µs.
        """
        if self._voice_sequences is None:
            self._voice_sequences = {}
        sequence = self._voice_sequences.get(stream, 0) + 1
        self._voice_sequences[stream] = sequence
        return Trailer(sequence, now_us, 0)


def _descriptor(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or transport.get_extra_info("sslcontext") is not None:
        return -1
    return int(sock.fileno())
