"""The gateway: takes states and events from the bus, and serves them to any number of WebSocket clients."""

from __future__ import annotations

from collections.abc import Callable

from vfctl.bus import EVERYBODY, BusConnection, Envelope, Kind
from vfctl.protocol import Message, NodeSelect, Notice, VoiceData, decode
from vfctl.server.capacity import ClientLimit
from vfctl.server.gateway.bus_client import BusRequestClient, CommandSender
from vfctl.server.gateway.client_manager import ClientManager
from vfctl.server.gateway.connection import Connection
from vfctl.server.gateway.connection_handler import ConnectionHandler
from vfctl.server.gateway.notices import NoticeSender, Selections
from vfctl.server.gateway.update_scheduler import UpdateScheduler
from vfctl.server.gateway.voice import VoiceIntake, VoiceRelay
from vfctl.server.options import Recording, ServerOptions
from vfctl.server.runtime import monotonic_us, unix_time_us
from vfctl.server.scoreboard import COUNTERS
from vfctl.stream import Intervals


class Gateway:
    """Connects one bus connection with the parts that serve clients.

    Args:
        options: of the server.
        number: this gateway's number, from 0.
        bus: delivers states and events, and takes commands.
        limit: number of clients that may connect.
        clock: monotonic time in µs.

    Attributes:
        clients: the connections.
        updates: sends states to them.
        connections: handles `GET /ws`.
        requests: asks the source for the settings of physics and replay, and changes them.
        encoding_limit: encodings that need more bandwidth are refused.
        is_replay: whether the server replays a recording.
    """

    def __init__(
        self,
        options: ServerOptions,
        number: int,
        bus: BusConnection,
        limit: ClientLimit,
        clock: Callable[[], int] = monotonic_us,
    ) -> None:
        self.number = number
        self.limit = limit
        self.encoding_limit = options.encoding_limit
        self.is_replay = isinstance(options.source, Recording)
        self._bus = bus
        stall_timeout_us, heartbeat_us = _us(options.stall_timeout_s * 1000), _us(options.heartbeat_s * 1000)
        self.clients = ClientManager(stall_timeout_us, heartbeat_us, options.slow_client)
        intervals = Intervals(_us(options.active_interval_ms), _us(options.stable_interval_ms))
        self.updates = UpdateScheduler(self.clients, intervals, clock)
        self.requests = BusRequestClient(bus, number)
        self._notices = NoticeSender(self.clients)
        self._selections = Selections(self._notices, self.clients)
        self._voice = VoiceRelay(self.clients.sender)
        commands = CommandSender(bus, number, options.record is not None)
        self.connections = ConnectionHandler(
            self.clients,
            self.updates,
            commands,
            self._notices,
            self._selections,
            VoiceIntake(commands, self._notices, self.clients.traffic),
            limit,
            options.encoding_limit,
            clock,
        )

    async def follow_bus(self) -> None:
        """Handle everything that the source sends. Returns when the bus closes."""
        async for envelope in self._bus:
            self.handle(envelope)

    def handle(self, envelope: Envelope) -> None:
        """Handle one envelope from the bus."""
        match envelope.kind:
            case Kind.FRAME | Kind.CONFIRM:
                self.updates.on_state(envelope)
            case Kind.GRAPH:
                self.updates.on_graph(envelope.payload)
            case Kind.EVENT:
                self._on_event(decode(envelope.payload), envelope)
            case Kind.REPLY:
                self.requests.on_reply(envelope)

    def publish_metrics(self) -> None:
        """Write the metrics to the scoreboard. The first call says that this gateway serves."""
        slot, traffic, updates = self.limit.slot, self.clients.traffic, self.updates
        for name in COUNTERS:
            setattr(slot, name, getattr(traffic, name))
        slot.interval_us = updates.coordinator.interval_us
        slot.target_interval_us = updates.coordinator.target_us
        slot.tick_write_us = updates.last_write_us
        slot.settled = updates.scene.settled
        slot.published_us = unix_time_us()
        slot.began_us = slot.began_us or slot.published_us

    def _on_event(self, message: Message, envelope: Envelope) -> None:
        """A message of any client: voice for listeners, selections and errors for those who want notices."""
        match message:
            case VoiceData() if envelope.client == EVERYBODY:  # a replay: the message names the speaker
                self._voice.send(message, message.stream, None)
            case VoiceData():
                self._voice.send(message, envelope.sender, self._own(envelope))
            case NodeSelect():
                self._selections.on_selection(envelope.sender, message.node_id, self._own(envelope))
            case Notice() if envelope.client == EVERYBODY:  # a replay
                self._notices.broadcast(message)
            case Notice():
                receiver = self._own(envelope)
                if receiver is not None:
                    self._notices.send(receiver, message)

    def _own(self, envelope: Envelope) -> Connection | None:
        """The connection that an envelope names, if it is one of this gateway."""
        return self.clients.get(envelope.client) if envelope.gateway == self.number else None


def _us(milliseconds: float) -> int:
    return round(milliseconds * 1000)
