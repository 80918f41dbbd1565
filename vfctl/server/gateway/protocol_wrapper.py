"""What stands between a transport and its protocol hands everything on."""

from __future__ import annotations

import asyncio


class ProtocolWrapper(asyncio.Protocol):
    """Hands on all that a transport says of itself; what comes is left to subclasses."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
