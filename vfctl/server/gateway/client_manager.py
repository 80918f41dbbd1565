"""The connections of one gateway, and every byte that is written to them."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import numpy as np
from aiohttp import WSCloseCode

from vfctl.bus.envelope import CLIENTS_PER_GATEWAY
from vfctl.protocol import Heartbeat, History, encode
from vfctl.protocol.websocket import Opcode, close_payload, frame
from vfctl.server.clocks import unix_time_us
from vfctl.server.gateway.connection import ClientSocket, Connection, LossWatch
from vfctl.server.gateway.connection_slots import PLAIN, TIMED, Places, Roster
from vfctl.sockets.fan_out import FanOut, unsent_bytes
from vfctl.stream import Audience, ConnectionOptions, Delivery, Pieces, SlowClientPolicy

log = logging.getLogger(__name__)

MAX_WAITING_SMALL_BYTES: Final = 64 * 1024
"""Notices and heartbeats are not written to a client for whom more than this waits."""

BUFFERED_FRAMES: Final = 4
"""SO_SNDBUF: how many frames the kernel takes for one client, on their way or not. Four at 20 frames a second cover a
round trip of 200 ms to a client that is not slow."""

UNSENT_FRAMES: Final = 1
"""TCP_NOTSENT_LOWAT: while as much as a frame has not been sent, the kernel takes nothing more. So it holds two for a
client whose window is full, and with the room that SO_SNDBUF leaves for others it would hold four, each an interval
older. Less than a frame, and a large one would be written in many pieces."""

LEAST_SEND_BUFFER_BYTES: Final = 32 * 1024
MOST_SEND_BUFFER_BYTES: Final = 4 * 1024 * 1024

_ABORT: Final = struct.pack("@ii", 1, 0)
"""SO_LINGER of no time: what is closed is reset."""

GOODBYE_S: Final = 1.0
"""How long a client that is given up, or has left, has to take what waits for it, and the Close frame behind it."""

CLOSING_S: Final = 12.0
"""How long a connection may last once a Close frame is written: aiohttp waits 10 s for the client's. Beyond, what waits
is not taken; the connection would else stay for as long as the client answers the kernel's window probes."""


@dataclass(slots=True)
class Traffic:
    """What a gateway has done so far; /metrics reports it."""

    connections: int = 0
    frames: int = 0
    bytes: int = 0
    skipped: int = 0
    stalled: int = 0
    voice_messages: int = 0
    voice_dropped: int = 0
    voice_skipped: int = 0
    protocol_errors: int = 0
    refused: int = 0


class ClientManager:
    """Registers connections, writes to them and gets rid of those that have stalled.

    Args:
        stall_timeout_us: a client that takes nothing for so long is disconnected.
        heartbeat_us: one that has been silent for so long is sent a heartbeat.
        policy: what becomes of slow clients before that.
    """

    def __init__(
        self,
        stall_timeout_us: int,
        heartbeat_us: int,
        policy: SlowClientPolicy = SlowClientPolicy.SKIP,
    ) -> None:
        self._stall_timeout_us = stall_timeout_us
        self._policy = policy
        self._heartbeat_us = heartbeat_us
        self._connections: dict[int, Connection] = {}
        self._roster = Roster()
        self._next_number = 1
        self._next_looks: list[tuple[int, int]] = []
        """A heap: when each connection may have been silent for long enough, in µs, and its number."""
        self.traffic = Traffic()
        self._fan_out = FanOut()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def get(self, number: int) -> Connection | None:
        """The connection with that number, if it is still there."""
        return self._connections.get(number)

    def add(
        self,
        websocket: ClientSocket,
        transport: asyncio.Transport,
        subscription: ConnectionOptions,
        audience: Audience,
        now_us: int,
    ) -> Connection:
        """Register a connection whose handshake is done."""
        number = self._next_number
        while number in self._connections:
            number = number % (CLIENTS_PER_GATEWAY - 1) + 1
        self._next_number = number % (CLIENTS_PER_GATEWAY - 1) + 1
        _bound_send_buffer(transport, audience.largest_update_bytes())
        connection = Connection(number, websocket, transport, subscription, audience, now_us)
        self._connections[number] = connection
        self._roster.take(connection)
        websocket.before_write = partial(self._out_of_step, connection)
        websocket.before_close = partial(self._begin_close, connection)
        protocol = cast("asyncio.Protocol", transport.get_protocol())
        transport.set_protocol(LossWatch(protocol, partial(self._lose, connection)))
        heapq.heappush(self._next_looks, (now_us + self._heartbeat_us, number))
        self.traffic.connections += 1
        return connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection and make sure that it is closed: none is left open and silent."""
        self._connections.pop(connection.number, None)
        self._roster.give_back(connection)
        transport = connection.transport
        if not transport.is_closing():
            transport.close()
        if transport.get_write_buffer_size():
            _cut_in(connection, GOODBYE_S)

    def watch(self, connection: Connection, audience: Audience) -> None:
        """The connection gets from now on what this audience gets."""
        self._roster.watch(connection, audience)

    def deliver_due(self, places: Places, sequence: int, interval_us: int, now_us: int) -> None:
        """Serve connections whose turn has come.

        Those that are in step and get the same bytes are sent them by one call, past their transports, in which
        nothing waits. All others go one by one.

        Args:
            places: int32 [due], of the connections.
        """
        roster = self._roster
        in_step = roster.in_step.take(places)
        if not in_step.all():
            for place in places[~in_step].tolist():
                self._deliver(roster[place], sequence, interval_us, now_us)
            places = places[in_step]
        for audience, group in roster.by_audience(places):
            if audience.compact:
                self._deliver_compact(audience, group, sequence, interval_us)
            else:
                self._send_past_transports(group, audience.position_update_pieces(sequence, interval_us))
                self.traffic.frames += len(group)
        self._ask_the_silent(now_us)

    def _deliver_compact(self, audience: Audience, group: Places, sequence: int, interval_us: int) -> None:
        """To connections that are in step. Those who have the same states get the same bytes."""
        alike: defaultdict[History | None, list[Connection]] = defaultdict(list)
        for place in group.tolist():
            connection = self._roster[place]
            alike[connection.history].append(connection)
        for history, connections in alike.items():
            framed, with_it = audience.compact_update(history, sequence, interval_us)
            self._send_past_transports(np.array([each.place for each in connections], np.int32), (framed,))
            self.traffic.frames += len(connections)
            for connection in connections:
                connection.history = with_it

    def _send_past_transports(self, places: Places, pieces: Pieces) -> None:
        roster = self._roster
        short = self._fan_out.send(roster.fds.take(places), pieces)
        if short:
            framed = b"".join(pieces)
            for index, taken in short:
                connection = roster[int(places[index])]
                self._out_of_step(connection)
                connection.transport.write(framed[taken:])
        self.traffic.bytes += sum(map(len, pieces)) * len(places)

    def _deliver(self, connection: Connection, sequence: int, interval_us: int, now_us: int) -> None:
        """Serve one connection whose turn has come and that is not in step: a frame, unless earlier bytes still wait.

        Args:
            now_us: monotonic time in µs.
        """
        transport = connection.transport
        if connection.leaving or transport.is_closing():
            return
        waiting = transport.get_write_buffer_size()
        decision = connection.backlog.decide(waiting, now_us, self._stall_timeout_us, self._policy)
        if decision is Delivery.WRITE:
            audience = connection.audience
            if connection.owed_graph:
                connection.owed_graph = False
                connection.history = None
                framed = audience.full_graph(sequence, interval_us)
            elif audience.compact:
                framed, connection.history = audience.compact_update(connection.history, sequence, interval_us)
            else:
                framed = audience.position_update(sequence, interval_us)
            self.traffic.frames += 1
            if connection.fd >= 0:
                self._roster.in_step[connection.place] = True
                self._send_past_transports(np.array([connection.place], np.int32), (framed,))
            else:
                transport.write(framed)
                self.traffic.bytes += len(framed)
        elif decision is Delivery.SKIP:
            self.traffic.skipped += 1
        else:
            self._give_up(connection, waiting)

    def send_graph(self, connection: Connection, sequence: int, interval_us: int) -> None:
        """Write the FullGraph of what the connection sees now; if it is behind, in its next turn that it can take."""
        if connection.transport.get_write_buffer_size():
            connection.owed_graph = True
            self._out_of_step(connection)
            return
        if self.send(connection, connection.audience.full_graph(sequence, interval_us)):
            connection.history = None

    def send(self, connection: Connection, framed: bytes, *, behind: int = MAX_WAITING_SMALL_BYTES) -> bool:
        """Write framed messages besides the states; False if the client is too far behind for them.

        Args:
            behind: by more than so many bytes.
        """
        transport = connection.transport
        if connection.leaving or transport.is_closing() or transport.get_write_buffer_size() > behind:
            return False
        self._out_of_step(connection)
        transport.write(framed)
        self.traffic.bytes += len(framed)
        return True

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens to speech."""
        return bool(self._roster.hears.any())

    def send_voice(self, plain: bytes, timed: bytes, speaker: Connection | None) -> None:
        """Send speech to all who listen, but not to the speaker.

        It is written only to a client for whom nothing waits here and little in the kernel, so that it never fills the
        place of a frame. For others it is left out.

        Args:
            plain, timed: the framed message without and with its trailer.
        """
        roster, traffic = self._roster, self.traffic
        for kind, framed in ((PLAIN, plain), (TIMED, timed)):
            places = np.flatnonzero(roster.hears == kind).astype(np.int32)
            if speaker is not None:
                places = places[places != speaker.place]
            if not len(places):
                continue
            for place in places[~roster.in_step.take(places)].tolist():
                self._look(roster[place])
            in_step = roster.in_step.take(places)
            ready = places[in_step]
            ready = ready[unsent_bytes(roster.fds.take(ready)) <= roster.voice_room.take(ready)]
            self._send_past_transports(ready, (framed,))
            others = [roster[place] for place in places[~in_step].tolist()]
            sent = len(ready) + sum(self.send(other, framed, behind=0) for other in others if other.fd < 0)
            traffic.voice_messages += sent
            traffic.voice_skipped += len(places) - sent

    def _look(self, connection: Connection) -> None:
        """Back in step, if it is: nothing waits, it is owed nothing, and it stays."""
        transport = connection.transport
        away = connection.fd < 0 or connection.owed_graph or connection.leaving or transport.is_closing()
        if not away and not transport.get_write_buffer_size():
            connection.backlog.waiting_bytes = 0
            self._roster.in_step[connection.place] = True

    def _ask_the_silent(self, now_us: int) -> None:
        """A heartbeat for those from whom nothing has come for long. Each is looked at when it may be due, and not with
        each of its frames."""
        looks = self._next_looks
        while looks and looks[0][0] <= now_us:
            number = looks[0][1]
            connection = self._connections.get(number)
            if connection is None:
                heapq.heappop(looks)
                continue
            if now_us - connection.heard_us >= self._heartbeat_us:
                connection.heard_us = now_us  # once an interval, whether it answers or not
                self.send(connection, frame(encode(Heartbeat(unix_time_us()))))
            heapq.heapreplace(looks, (connection.heard_us + self._heartbeat_us, number))

    def _out_of_step(self, connection: Connection) -> None:
        """Something is or will be written to its transport: look there before the next frame."""
        if connection.place >= 0:
            self._roster.in_step[connection.place] = False

    def _leave(self, connection: Connection) -> None:
        """It gets nothing more."""
        connection.leaving = True
        self._out_of_step(connection)

    def _begin_close(self, connection: Connection) -> None:
        """A Close frame is about to be written."""
        self._leave(connection)
        if connection.cut is None:
            _cut_in(connection, CLOSING_S)

    def _lose(self, connection: Connection) -> None:
        """It has ended. Its descriptor may soon be another's."""
        self._leave(connection)
        connection.ended = True
        if connection.cut is not None:
            connection.cut.cancel()

    def _give_up(self, connection: Connection, waiting: int) -> None:
        """Say why, behind what waits already, and cut the connection if that is not taken either."""
        log.info("client %d has not taken %d bytes, it is disconnected", connection.number, waiting)
        self.traffic.stalled += 1
        self._leave(connection)
        transport = connection.transport
        transport.write(frame(close_payload(WSCloseCode.POLICY_VIOLATION, "too slow"), Opcode.CLOSE))
        transport.close()
        _cut_in(connection, GOODBYE_S)


def _cut_in(connection: Connection, seconds: float) -> None:
    """Cut a connection after so long, unless it ends by itself (see `ClientManager._lose`)."""
    if connection.ended:
        return
    if connection.cut is not None:
        connection.cut.cancel()
    connection.cut = asyncio.get_running_loop().call_later(seconds, _break_off, connection.transport)


def _break_off(transport: asyncio.Transport) -> None:
    """Cut a connection with RST. An orderly end would wait in the kernel, behind data that a closed window never lets
    through, and the client would not hear of it."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # the other side was quicker
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    transport.abort()


def _bound_send_buffer(transport: asyncio.Transport, frame_bytes: int) -> None:
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    bounded = min(max(BUFFERED_FRAMES * frame_bytes, LEAST_SEND_BUFFER_BYTES), MOST_SEND_BUFFER_BYTES)
    with contextlib.suppress(OSError):  # a socket that is gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounded)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_FRAMES * frame_bytes)
