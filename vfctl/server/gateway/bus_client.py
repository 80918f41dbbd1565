"""What a gateway sends to the source over the bus: requests, which are answered, and what its clients send."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vfctl.bus import TIMESTAMP, BusConnection, Envelope, Kind
from vfctl.server.gateway.connection import Connection

REPLY_TIMEOUT_S: Final = 5.0
"""The source replies between two ticks. Even 100,000 nodes on a busy core leave it time for that."""


class BusRequestClient:
    """Sends requests to the source and awaits its replies.

    Args:
        bus: the gateway's end of the bus.
        gateway: number of the gateway.
    """

    def __init__(self, bus: BusConnection, gateway: int) -> None:
        self._bus = bus
        self._gateway = gateway
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def request(self, target: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings of the source, or only read them if there are no changes.

        Args:
            target: `physics` or `replay`.
            changes: new values by name.

        Returns:
            The settings that hold now, or `error` and `hint`.

        Raises:
            TimeoutError: the source does not reply.
        """
        number = next(self._numbers)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = reply
        try:
            payload = json.dumps({target: dict(changes)}).encode()
            self._bus.send(Envelope(Kind.REQUEST, payload, self._gateway, number))
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                return await reply
        finally:
            del self._pending[number]

    def on_reply(self, envelope: Envelope) -> None:
        """Resolve the request with this reply, unless it has timed out."""
        reply = self._pending.get(envelope.client)
        if reply is not None and not reply.done():
            reply.set_result(json.loads(bytes(envelope.payload)))


@dataclass(slots=True)
class CommandSender:
    """Forwards messages of clients to the source.

    Args:
        bus: the gateway's end of the bus.
        gateway: number of the gateway.
        recorded: whether the server records what clients send.
    """

    _bus: BusConnection
    _gateway: int
    _recorded: bool

    def send(self, connection: Connection, payload: bytes) -> None:
        """Send a client's command (a drag, a selection or voice) to the source."""
        connection.has_sent_commands = True
        self._bus.send(Envelope(Kind.COMMAND, payload, self._gateway, connection.number))

    def record(self, connection: Connection, payload: bytes) -> None:
        """Send a client's message to the recorder, if there is one."""
        if self._recorded:
            stamped = TIMESTAMP.pack(time.time_ns()) + payload
            self._bus.send(Envelope(Kind.HEARD, stamped, self._gateway, connection.number))

    def disconnected(self, connection: Connection) -> None:
        """Tell the source that a client has disconnected, if the source knows it."""
        if connection.has_sent_commands:
            self._bus.send(Envelope(Kind.LEFT, b"", self._gateway, connection.number))
