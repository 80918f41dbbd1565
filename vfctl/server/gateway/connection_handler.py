"""`GET /ws`: one connection from its handshake to its end, and what its client sends."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from vfctl.errors import ProtocolError, UsageError
from vfctl.protocol import (
    FilterUpdate,
    Heartbeat,
    Message,
    NodeDrag,
    NodeSelect,
    Reserved,
    VoiceData,
    decode,
    encode,
)
from vfctl.protocol.websocket import frame
from vfctl.server.capacity import ClientLimit
from vfctl.server.gateway.bus_client import CommandSender
from vfctl.server.gateway.client_manager import ClientManager
from vfctl.server.gateway.connection import ClientSocket, Connection
from vfctl.server.gateway.notices import NoticeSender, Selections
from vfctl.server.gateway.update_scheduler import UpdateScheduler
from vfctl.server.gateway.voice import VoiceIntake
from vfctl.server.runtime import unix_time_us
from vfctl.stream import ConnectionOptions, Encoding

MAX_CLIENT_MESSAGE_BYTES: Final = 64 * 1024
"""The largest message that a client may send: two seconds of voice at 16 kHz."""

MAX_BUSY_US: Final = 5_000
"""Once the messages of one client have taken this much time, its connection is not read for three times as long.
Otherwise the messages in the 256 KB that are read at once could be thousands of filters, and for seconds no other
client would be served."""


@dataclass(slots=True)
class ConnectionHandler:
    """Accepts WebSocket connections and applies what their clients send.

    Args:
        clients: registers the connections.
        updates: sends them updates.
        commands: forwards commands to the source.
        notices: tells clients about their errors.
        selections: for new clients.
        voice: receives voice messages.
        limit: number of clients that may connect.
        encoding_limit: encodings that need more bandwidth are refused.
        clock: monotonic time in µs.
    """

    _clients: ClientManager
    _updates: UpdateScheduler
    _commands: CommandSender
    _notices: NoticeSender
    _selections: Selections
    _voice: VoiceIntake
    _limit: ClientLimit
    _encoding_limit: Encoding
    _clock: Callable[[], int]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve `GET /ws` until the connection ends."""
        try:
            options = ConnectionOptions.from_query(request.query, self._encoding_limit)
        except UsageError as error:
            return web.Response(status=400, text=f"{error.message}\n")
        refusal = self._limit.acquire()
        if refusal is not None:
            self._clients.traffic.refused += 1
            return web.Response(status=503, text=f"{refusal}\n", headers={"Retry-After": "5"})
        try:
            return await self._serve(request, options)
        finally:
            self._limit.release()

    async def _serve(self, request: web.Request, options: ConnectionOptions) -> web.StreamResponse:
        # aiohttp refuses a message of exactly the limit.
        socket = ClientSocket(compress=False, max_msg_size=MAX_CLIENT_MESSAGE_BYTES + 1)
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="this is a WebSocket endpoint; connect with ws://…/ws\n")
        try:
            await socket.prepare(request)
        except ConnectionError:
            return web.Response(status=400, text="disconnected during the handshake\n")  # aiohttp needs an answer
        transport = request.transport
        if transport is None:
            return socket
        audience = self._updates.scene.audience(options.variant)
        connection = self._clients.add(socket, transport, options, audience, self._clock())
        self._updates.send_graph(connection)
        self._selections.send_current(connection)
        self._updates.add(connection)
        try:
            await self._read_messages(connection)
        finally:
            self._updates.remove(connection)
            self._clients.remove(connection)
            self._commands.disconnected(connection)
        return socket

    async def _read_messages(self, connection: Connection) -> None:
        busy_us = 0
        async for incoming in connection.socket:
            began_us = self._clock()
            try:
                if incoming.type is not WSMsgType.BINARY:
                    raise ProtocolError("a text frame, expected one V4 message in a binary frame", offset=0)
                self._receive(connection, decode(incoming.data), incoming.data)
            except ProtocolError as error:
                self._clients.traffic.protocol_errors += 1
                self._notices.send_error(connection, error.message)
                reason = error.message.encode()[:120].decode(errors="ignore")
                await connection.socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=reason.encode())
                return
            busy_us += self._clock() - began_us
            if busy_us >= MAX_BUSY_US:
                await asyncio.sleep(3 * busy_us / 1e6)
                busy_us = 0

    def _receive(self, connection: Connection, message: Message, payload: bytes) -> None:
        connection.last_received_us = self._clock()
        if isinstance(message, NodeSelect | NodeDrag | FilterUpdate | VoiceData):
            self._commands.record(connection, payload)
        match message:
            case FilterUpdate():
                self._updates.set_filter(connection, message.filter)
            case Heartbeat(responder_timestamp_us=None):
                self._clients.sender.send(connection, frame(encode(Heartbeat(message.timestamp_us, unix_time_us()))))
            case NodeDrag() if not all(map(math.isfinite, (message.x, message.y, message.z))):
                self._notices.send_error(connection, f"node {message.node_id}: the dragged position is not finite")
            case NodeDrag() | NodeSelect():
                if message.node_id is None or self._updates.has_node(message.node_id):
                    self._commands.send(connection, payload)
                else:
                    self._notices.send_error(connection, f"there is no node {message.node_id}")
            case VoiceData():
                self._voice.receive(connection, message, len(payload))
            case Heartbeat() | Reserved():
                pass  # the answer to our heartbeat, or a message of a later protocol version
            case _:
                raise ProtocolError(f"a {type(message).__name__}, expected a message that clients send", offset=1)
