"""From a state on the bus to the updates of the due connections."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from vfctl.bus import TIMESTAMP, Envelope, Kind
from vfctl.graph import Graph, from_full_graph
from vfctl.protocol import Filter, FullGraph, PositionUpdate, decode
from vfctl.protocol.wire import Buffer
from vfctl.server.gateway.client_manager import ClientManager
from vfctl.server.gateway.connection import Connection
from vfctl.server.runtime import AwakeClock
from vfctl.stream import ClientCoordinator, Due, Intervals, Scene


class UpdateScheduler:
    """Keeps the newest graph and state, and sends them to the connections that are due.

    Args:
        clients: the connections.
        intervals: update intervals of a moving and of a settled layout.
        clock: monotonic time in µs.

    Attributes:
        coordinator: decides which connections are due.
        graph: the served graph; None before the first one.
        last_write_us: time that the writes of the last tick took.
    """

    def __init__(self, clients: ClientManager, intervals: Intervals, clock: Callable[[], int]) -> None:
        self._clients = clients
        self._clock = clock
        self.coordinator = ClientCoordinator(intervals, clock())
        self.graph: Graph | None = None
        self.last_write_us = 0
        self._scene: Scene | None = None
        self._node_ids: frozenset[int] = frozenset()
        self._ready = asyncio.Event()
        self._waiting_states: dict[Kind, Buffer] = {}
        self._tick_began_us = 0
        self._awake_clock = AwakeClock()

    @property
    def scene(self) -> Scene:
        """The served state; it exists once `wait_ready` has returned."""
        assert self._scene is not None, "no graph has arrived over the bus yet"
        return self._scene

    async def wait_ready(self) -> None:
        """Wait for the first graph."""
        await self._ready.wait()

    def has_node(self, node_id: int) -> bool:
        """Whether the served graph has this node."""
        return node_id in self._node_ids

    # -- the bus -------------------------------------------------------------------------------------

    def on_graph(self, payload: Buffer) -> None:
        """Serve another graph: every connection gets its FullGraph."""
        self._waiting_states.clear()  # they belong to the previous graph
        message = decode(payload)
        assert isinstance(message, FullGraph)
        assert message.trailer is not None
        self.graph = from_full_graph(message, "served graph")
        self._node_ids = frozenset(self.graph.ids.tolist())
        timestamp_us, chain = message.trailer.timestamp_us, secrets.randbits(32)
        self._scene = Scene(self.graph, message.nodes, settled=False, timestamp_us=timestamp_us, chain=chain)
        for connection in self._clients:
            self._clients.set_audience(connection, self._scene.audience(connection.audience.variant))
            self.send_graph(connection)
        self._ready.set()

    def on_state(self, envelope: Envelope) -> None:
        """Keep a state, and serve it when everything that has arrived over the bus is read.

        A gateway that was busy finds several states. Serving all of them would delay each one, so only the newest is
        served.
        """
        if not self._waiting_states:
            self._tick_began_us = self._clock()
            asyncio.get_running_loop().call_soon(self._serve_newest)
        if envelope.kind is Kind.FRAME:
            self._waiting_states.clear()
        self._waiting_states[envelope.kind] = envelope.payload

    # -- connections ---------------------------------------------------------------------------------

    def add(self, connection: Connection) -> None:
        """Send updates to a connection from now on."""
        self.coordinator.add(connection.slot, connection.audience.variant)

    def remove(self, connection: Connection) -> None:
        """Send it no more updates."""
        self.coordinator.remove(connection.slot)

    def send_graph(self, connection: Connection) -> None:
        """Send a connection the FullGraph of its filter."""
        self._clients.sender.send_graph(connection, self.coordinator.sequence, self.coordinator.interval_us)

    def set_filter(self, connection: Connection, criteria: Filter) -> None:
        """Apply a connection's new filter, and send it the FullGraph of what is left."""
        variant = connection.audience.variant.with_filter(criteria)
        self._clients.set_audience(connection, self.scene.audience(variant))
        self.coordinator.move(connection.slot, variant)
        self.send_graph(connection)

    # -- a tick --------------------------------------------------------------------------------------

    def _serve_newest(self) -> None:
        states, self._waiting_states = self._waiting_states, {}
        if Kind.FRAME in states:
            update = decode(states[Kind.FRAME])
            assert isinstance(update, PositionUpdate)
            assert update.trailer is not None
            if update.trailer.interval_us:
                # A recorded state: clients that have not received the previous one get that first.
                now_us, interval_us = self._clock(), self.coordinator.interval_us
                self._send(self.coordinator.begin_interval(now_us, update.trailer.interval_us), interval_us, now_us)
            self.scene.update(update.nodes, update.settled, update.trailer.timestamp_us)
        if Kind.CONFIRM in states:
            self.scene.confirm(TIMESTAMP.unpack(states[Kind.CONFIRM])[0])
        self.coordinator.set_settled(self.scene.settled)
        now_us, interval_us = self._clock(), self.coordinator.interval_us
        self._send(self.coordinator.due(now_us), interval_us, now_us)
        self._clients.send_heartbeats(now_us)
        # uvloop may write only at the end of this loop iteration. A callback of the next one finds the writes done.
        asyncio.get_running_loop().call_soon(self._tick_done)

    def _send(self, groups: list[Due], interval_us: int, now_us: int) -> None:
        for due in groups:
            self._clients.sender.send_updates(due.clients, due.sequence, interval_us, now_us)

    def _tick_done(self) -> None:
        now_us = self._clock()
        self.last_write_us = now_us - self._tick_began_us
        self.coordinator.tick_done(self.last_write_us, now_us, self._awake_clock)
