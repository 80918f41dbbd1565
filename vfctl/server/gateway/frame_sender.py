"""Sends frames to connections: one batch to all that can take it, one by one to those with buffered bytes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vfctl.protocol import History
from vfctl.server.gateway.connection import Connection
from vfctl.server.gateway.connection_slots import VOICE_PLAIN, VOICE_TIMED, ConnectionSlots, Slots
from vfctl.server.gateway.disconnects import Disconnects
from vfctl.server.scoreboard import Traffic
from vfctl.sockets.fan_out import FanOut, unsent_bytes
from vfctl.stream import Audience, Delivery, Pieces, SlowClientPolicy

MAX_WAITING_SMALL_BYTES: Final = 64 * 1024
"""A client with more buffered bytes gets no notices and heartbeats."""


@dataclass(slots=True)
class FrameSender:
    """Writes to connections, and applies backpressure to slow clients.

    Args:
        slots: of the connections.
        traffic: counts what is sent.
        disconnects: ends the connections of stalled clients.
        stall_timeout_us: a client that reads nothing for so long is disconnected.
        policy: backpressure policy before that.
    """

    _slots: ConnectionSlots
    _traffic: Traffic
    _disconnects: Disconnects
    _stall_timeout_us: int
    _policy: SlowClientPolicy
    _fan_out: FanOut = field(default_factory=FanOut)

    def send_updates(self, due: Slots, sequence: int, interval_us: int, now_us: int) -> None:
        """Send the newest state to the due connections.

        Connections with direct writes that share an audience get it by one call. All others are served one by one.

        Args:
            due: int32 [connections], their slots.
            sequence: number of the update, for its trailer.
            interval_us: time until the next update, for its trailer.
            now_us: monotonic time in µs.
        """
        slots = self._slots
        direct = slots.direct_write.take(due)
        if not direct.all():
            for slot in due[~direct].tolist():
                self._send_update(slots[slot], sequence, interval_us, now_us)
            due = due[direct]
        for audience, group in slots.by_audience(due):
            if audience.compact:
                self._send_compact(audience, group, sequence, interval_us)
            else:
                self._write_direct(group, audience.position_update_pieces(sequence, interval_us))
                self._traffic.frames += len(group)

    def send_graph(self, connection: Connection, sequence: int, interval_us: int) -> None:
        """Send the FullGraph of the connection's filter; as its next update if earlier bytes still wait."""
        if connection.transport.get_write_buffer_size():
            connection.graph_pending = True
            self._slots.disable_direct_write(connection)
            return
        if self.send(connection, connection.audience.full_graph(sequence, interval_us)):
            connection.history = None

    def send(self, connection: Connection, framed: bytes, *, max_waiting: int = MAX_WAITING_SMALL_BYTES) -> bool:
        """Send framed messages other than updates.

        Args:
            connection: the receiver.
            framed: one or more WebSocket frames.
            max_waiting: drop the messages if more than so many bytes are buffered for the client.

        Returns:
            False if they were dropped.
        """
        transport = connection.transport
        if not connection.is_open or transport.get_write_buffer_size() > max_waiting:
            return False
        self._slots.disable_direct_write(connection)
        transport.write(framed)
        self._traffic.bytes += len(framed)
        return True

    @property
    def has_listeners(self) -> bool:
        """Whether any connection receives voice."""
        return bool(self._slots.voice_mode.any())

    def send_voice(self, plain: bytes, timed: bytes, speaker: Connection | None) -> None:
        """Send voice to all connections that receive it, except the speaker.

        A client gets it only if nothing is buffered here and little in the kernel, so that voice never takes the room
        of an update. For other clients it is dropped.

        Args:
            plain: the framed message without a trailer.
            timed: the framed message with its trailer.
            speaker: None if the speaker is on another gateway.
        """
        slots, traffic = self._slots, self._traffic
        for mode, framed in ((VOICE_PLAIN, plain), (VOICE_TIMED, timed)):
            listeners = np.flatnonzero(slots.voice_mode == mode).astype(np.int32)
            if speaker is not None:
                listeners = listeners[listeners != speaker.slot]
            if not len(listeners):
                continue
            for slot in listeners[~slots.direct_write.take(listeners)].tolist():
                self._enable_direct_write_if_idle(slots[slot])
            direct = slots.direct_write.take(listeners)
            ready = listeners[direct]
            ready = ready[unsent_bytes(slots.fds.take(ready)) <= slots.voice_limit_bytes.take(ready)]
            self._write_direct(ready, (framed,))
            others = [slots[slot] for slot in listeners[~direct].tolist()]
            sent = len(ready) + sum(self.send(other, framed, max_waiting=0) for other in others if other.fd < 0)
            traffic.voice_messages += sent
            traffic.voice_skipped += len(listeners) - sent

    def _send_compact(self, audience: Audience, group: Slots, sequence: int, interval_us: int) -> None:
        """Connections with the same history get the same bytes."""
        by_history: defaultdict[History | None, list[Connection]] = defaultdict(list)
        for slot in group.tolist():
            connection = self._slots[slot]
            by_history[connection.history].append(connection)
        for history, connections in by_history.items():
            framed, next_history = audience.compact_update(history, sequence, interval_us)
            self._write_direct(np.array([each.slot for each in connections], np.int32), (framed,))
            self._traffic.frames += len(connections)
            for connection in connections:
                connection.history = next_history

    def _send_update(self, connection: Connection, sequence: int, interval_us: int, now_us: int) -> None:
        """Send an update to one connection, or skip it while earlier bytes wait, or disconnect a stalled client."""
        if not connection.is_open:
            return
        waiting = connection.transport.get_write_buffer_size()
        decision = connection.backlog.decide(waiting, now_us, self._stall_timeout_us, self._policy)
        if decision is Delivery.SKIP:
            self._traffic.skipped += 1
        elif decision is Delivery.GIVE_UP:
            self._disconnects.disconnect_slow(connection, waiting)
        else:
            framed = self._next_update(connection, sequence, interval_us)
            self._traffic.frames += 1
            if connection.fd >= 0:
                self._slots.direct_write[connection.slot] = True
                self._write_direct(np.array([connection.slot], np.int32), (framed,))
            else:
                connection.transport.write(framed)
                self._traffic.bytes += len(framed)

    def _next_update(self, connection: Connection, sequence: int, interval_us: int) -> bytes:
        audience = connection.audience
        if connection.graph_pending:
            connection.graph_pending = False
            connection.history = None
            return audience.full_graph(sequence, interval_us)
        if audience.compact:
            framed, connection.history = audience.compact_update(connection.history, sequence, interval_us)
            return framed
        return audience.position_update(sequence, interval_us)

    def _write_direct(self, group: Slots, pieces: Pieces) -> None:
        """Write to the descriptors. Bytes that a socket does not take go to its transport."""
        slots = self._slots
        incomplete = self._fan_out.send(slots.fds.take(group), pieces)
        if incomplete:
            framed = b"".join(pieces)
            for index, written in incomplete:
                connection = slots[int(group[index])]
                slots.disable_direct_write(connection)
                connection.transport.write(framed[written:])
        self._traffic.bytes += sum(map(len, pieces)) * len(group)

    def _enable_direct_write_if_idle(self, connection: Connection) -> None:
        if connection.fd < 0 or connection.graph_pending or not connection.is_open:
            return
        if not connection.transport.get_write_buffer_size():
            connection.backlog.waiting_bytes = 0
            self._slots.direct_write[connection.slot] = True
