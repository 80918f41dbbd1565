"""asyncio protocols between a transport and aiohttp's protocol: a connection's first request, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

FIRST_REQUEST_TIMEOUT_S: Final = 10.0
"""The load generator gives up a handshake after the same time."""

_HEAD_END: Final = b"\r\n\r\n"


class ProtocolWrapper(asyncio.Protocol):
    """Forwards the events of a transport to the wrapped protocol. Subclasses decide what happens to received data."""

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


class ConnectionLostHook(ProtocolWrapper):
    """Calls a function when the connection is lost, while its file descriptor is still open.

    A transport closes its descriptor right after `connection_lost` (asyncio and uvloop alike), and the next connection
    may get the same number. The task that serves the connection learns of the end a little later.
    """

    __slots__ = ("_on_lost", "data_received")

    def __init__(self, protocol: asyncio.Protocol, on_lost: Callable[[], None]) -> None:
        super().__init__(protocol)
        self._on_lost = on_lost
        self.data_received = protocol.data_received  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost()
        super().connection_lost(exc)


class FirstRequestTimeout(ProtocolWrapper):
    """Aborts a connection that sends no complete request head in time. aiohttp has no such limit.

    Without one, idle connections would use up the file descriptors of the process. After the first request head the
    wrapper removes itself from the transport.

    Args:
        protocol: handles the connection.
        timeout_s: time for the first complete request head.
    """

    __slots__ = ("_tail", "_timeout_s", "_timer", "_transport")

    def __init__(self, protocol: asyncio.Protocol, timeout_s: float = FIRST_REQUEST_TIMEOUT_S) -> None:
        super().__init__(protocol)
        self._timeout_s = timeout_s
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class is no subclass
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._transport.abort)
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if _HEAD_END in self._tail + data:
            self._timer.cancel()
            self._transport.set_protocol(self._protocol)
        else:
            self._tail = (self._tail + data)[1 - len(_HEAD_END) :]
        self._protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)
