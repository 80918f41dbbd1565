"""How a connection ends: slow clients, closing handshakes that the client never completes, lost connections."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from dataclasses import dataclass
from typing import Final

from aiohttp import WSCloseCode

from vfctl.protocol.websocket import Opcode, close_payload, frame
from vfctl.server.gateway.connection import Connection
from vfctl.server.gateway.connection_slots import ConnectionSlots
from vfctl.server.scoreboard import Traffic

log = logging.getLogger(__name__)

SEND_BUFFER_FRAMES: Final = 4
"""SO_SNDBUF: frames that the kernel buffers for one client, sent or not. At 20 frames a second four of them cover a
round trip of 200 ms to a client that is not slow."""

UNSENT_FRAMES: Final = 1
"""TCP_NOTSENT_LOWAT: while one frame is unsent, the kernel accepts no more. It then holds two frames for a client whose
window is full. With SO_SNDBUF alone it would hold four, each one interval older. With less than a frame, a large frame
would be written in many pieces."""

MIN_SEND_BUFFER_BYTES: Final = 32 * 1024
MAX_SEND_BUFFER_BYTES: Final = 4 * 1024 * 1024

_NO_LINGER: Final = struct.pack("@ii", 1, 0)
"""SO_LINGER of 0 s: closing the socket sends RST."""

DRAIN_TIMEOUT_S: Final = 1.0
"""Time that a slow or departed client has to read its buffered bytes and the Close frame behind them."""

CLOSE_TIMEOUT_S: Final = 12.0
"""Limit of a connection once a Close frame is written. aiohttp waits 10 s for the client's Close frame. Without a limit
the connection would stay open as long as the client answers the kernel's window probes."""


@dataclass(slots=True)
class Disconnects:
    """Ends connections, and stops all writes to a connection that ends.

    Args:
        slots: of the connections.
        traffic: counts the clients that are disconnected for being slow.
    """

    _slots: ConnectionSlots
    _traffic: Traffic

    def disconnect_slow(self, connection: Connection, waiting_bytes: int) -> None:
        """Send Close 1008 behind the buffered bytes, and abort the connection if the client does not read them."""
        log.info("client %d has not read %d bytes: disconnected", connection.number, waiting_bytes)
        self._traffic.stalled += 1
        self._stop_writing(connection)
        transport = connection.transport
        transport.write(frame(close_payload(WSCloseCode.POLICY_VIOLATION, "too slow"), Opcode.CLOSE))
        transport.close()
        self._abort_after(connection, DRAIN_TIMEOUT_S)

    def close_removed(self, connection: Connection) -> None:
        """Close the transport of a connection that nobody serves any more."""
        transport = connection.transport
        if not transport.is_closing():
            transport.close()
        if transport.get_write_buffer_size():
            self._abort_after(connection, DRAIN_TIMEOUT_S)

    def on_close_frame(self, connection: Connection) -> None:
        """aiohttp is about to write a Close frame."""
        self._stop_writing(connection)
        if connection.abort_timer is None:
            self._abort_after(connection, CLOSE_TIMEOUT_S)

    def on_lost(self, connection: Connection) -> None:
        """The connection has ended. Its descriptor may soon belong to another one."""
        self._stop_writing(connection)
        connection.ended = True
        if connection.abort_timer is not None:
            connection.abort_timer.cancel()

    def _stop_writing(self, connection: Connection) -> None:
        connection.closing = True
        self._slots.disable_direct_write(connection)

    def _abort_after(self, connection: Connection, seconds: float) -> None:
        if connection.ended:
            return
        if connection.abort_timer is not None:
            connection.abort_timer.cancel()
        connection.abort_timer = asyncio.get_running_loop().call_later(seconds, _reset, connection.transport)


def _reset(transport: asyncio.Transport) -> None:
    """Abort a connection with RST.

    A FIN would wait in the kernel behind data that a closed window never lets through, and the client would never
    receive it.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # the client has just closed it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def bound_send_buffer(transport: asyncio.Transport, frame_bytes: int) -> None:
    """Limit how much the kernel buffers for one client, so that it holds few outdated frames.

    Args:
        transport: of the connection.
        frame_bytes: size of the largest frame that the client gets.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    bounded = min(max(SEND_BUFFER_FRAMES * frame_bytes, MIN_SEND_BUFFER_BYTES), MAX_SEND_BUFFER_BYTES)
    with contextlib.suppress(OSError):  # the socket is closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounded)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_FRAMES * frame_bytes)
