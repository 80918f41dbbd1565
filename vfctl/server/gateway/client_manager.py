"""The connections of one gateway: registered from their handshake to their end."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from functools import partial
from typing import Final, cast

from aiohttp import WSCloseCode

from vfctl.bus.envelope import CLIENTS_PER_GATEWAY
from vfctl.protocol import Heartbeat, encode
from vfctl.protocol.websocket import frame
from vfctl.server.gateway.connection import ClientSocket, Connection
from vfctl.server.gateway.connection_slots import ConnectionSlots
from vfctl.server.gateway.disconnects import Disconnects, bound_send_buffer
from vfctl.server.gateway.frame_sender import FrameSender
from vfctl.server.gateway.protocol_wrappers import ConnectionLostHook
from vfctl.server.runtime import unix_time_us
from vfctl.server.scoreboard import Traffic
from vfctl.stream import Audience, ConnectionOptions, SlowClientPolicy

CLOSE_ALL_TIMEOUT_S: Final = 2.0
"""Time that clients have to answer the Close frame when the gateway stops."""


class ClientManager:
    """Registers connections, numbers them, and sends heartbeats to silent clients.

    Args:
        stall_timeout_us: a client that reads nothing for so long is disconnected.
        heartbeat_us: a client that sends nothing for so long gets a heartbeat.
        policy: backpressure policy for slow clients.

    Attributes:
        sender: writes to the connections.
        traffic: the gateway's counters.
    """

    def __init__(
        self, stall_timeout_us: int, heartbeat_us: int, policy: SlowClientPolicy = SlowClientPolicy.SKIP
    ) -> None:
        self.traffic = Traffic()
        self._slots = ConnectionSlots()
        self._disconnects = Disconnects(self._slots, self.traffic)
        self.sender = FrameSender(self._slots, self.traffic, self._disconnects, stall_timeout_us, policy)
        self._connections: dict[int, Connection] = {}
        self._next_number = 1
        self._heartbeat_us = heartbeat_us
        self._heartbeats: list[tuple[int, int]] = []
        """A heap: when each connection may need a heartbeat, monotonic time in µs, and its number."""

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def get(self, number: int) -> Connection | None:
        """The open connection with that number, if there is one."""
        return self._connections.get(number)

    def add(
        self,
        websocket: ClientSocket,
        transport: asyncio.Transport,
        options: ConnectionOptions,
        audience: Audience,
        now_us: int,
    ) -> Connection:
        """Register a connection after its handshake."""
        bound_send_buffer(transport, audience.largest_update_bytes())
        connection = Connection(self._free_number(), websocket, transport, options, audience, now_us)
        self._connections[connection.number] = connection
        self._slots.assign(connection)
        websocket.before_write = partial(self._slots.disable_direct_write, connection)
        websocket.before_close = partial(self._disconnects.on_close_frame, connection)
        protocol = cast("asyncio.Protocol", transport.get_protocol())
        transport.set_protocol(ConnectionLostHook(protocol, partial(self._disconnects.on_lost, connection)))
        heapq.heappush(self._heartbeats, (now_us + self._heartbeat_us, connection.number))
        self.traffic.connections += 1
        return connection

    def remove(self, connection: Connection) -> None:
        """Unregister a connection and make sure that its socket is closed. Removing it twice does no harm."""
        self._connections.pop(connection.number, None)
        self._slots.release(connection)
        self._disconnects.close_removed(connection)

    async def close_all(self, reason: str) -> None:
        """Send Close 1001 to all clients, so that they reconnect, and abort those that do not answer."""
        message = reason.encode()
        closing = [
            asyncio.create_task(each.socket.close(code=WSCloseCode.GOING_AWAY, message=message)) for each in self
        ]
        if closing:
            _, pending = await asyncio.wait(closing, timeout=CLOSE_ALL_TIMEOUT_S)
            for task in pending:
                task.cancel()
            for connection in self:
                connection.transport.abort()

    def set_audience(self, connection: Connection, audience: Audience) -> None:
        """The connection receives this audience's frames from now on."""
        self._slots.set_audience(connection, audience)

    def send_heartbeats(self, now_us: int) -> None:
        """Send a heartbeat to clients that have been silent for too long.

        A connection is checked when its heartbeat may be due, and not with each of its frames.
        """
        heartbeats = self._heartbeats
        while heartbeats and heartbeats[0][0] <= now_us:
            number = heartbeats[0][1]
            connection = self._connections.get(number)
            if connection is None:
                heapq.heappop(heartbeats)
                continue
            if now_us - connection.last_received_us >= self._heartbeat_us:
                connection.last_received_us = now_us  # one heartbeat per interval, whether it is answered or not
                self.sender.send(connection, frame(encode(Heartbeat(unix_time_us()))))
            heapq.heapreplace(heartbeats, (connection.last_received_us + self._heartbeat_us, number))

    def _free_number(self) -> int:
        number = self._next_number
        while number in self._connections:
            number = number % (CLIENTS_PER_GATEWAY - 1) + 1
        self._next_number = number % (CLIENTS_PER_GATEWAY - 1) + 1
        return number
