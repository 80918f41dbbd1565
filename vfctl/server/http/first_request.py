"""A limit on how long a connection may take to ask for something: aiohttp has none, and each takes a descriptor."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from vfctl.server.gateway.protocol_wrapper import ProtocolWrapper

FIRST_REQUEST_S: Final = 10.0
"""The simulated clients give a handshake up after as long."""

_END: Final = b"\r\n\r\n"


class FirstRequest(ProtocolWrapper):
    """Between a new transport and its protocol, until the head of the first request is there; then it steps aside.

    Args:
        protocol: what the connection is for.
        limit_s: a connection without a whole head by then is cut.
    """

    __slots__ = ("_cut", "_limit_s", "_tail", "_transport")

    def __init__(self, protocol: asyncio.Protocol, limit_s: float = FIRST_REQUEST_S) -> None:
        super().__init__(protocol)
        self._limit_s = limit_s
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by descent
        self._cut = asyncio.get_running_loop().call_later(self._limit_s, self._transport.abort)
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if _END in self._tail + data:
            self._cut.cancel()
            self._transport.set_protocol(self._protocol)
        else:
            self._tail = (self._tail + data)[1 - len(_END) :]
        self._protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cut.cancel()
        super().connection_lost(exc)
