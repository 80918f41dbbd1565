"""The gateway: what WebSocket clients talk to. Takes states from the bus and serves whoever is due."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from vfctl.bus import EVERYBODY, TIMESTAMP, BusConnection, Envelope, Kind
from vfctl.errors import ProtocolError, UsageError
from vfctl.graph import Graph, from_full_graph
from vfctl.protocol import (
    FilterUpdate,
    FullGraph,
    Heartbeat,
    Message,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    VoiceData,
    decode,
    encode,
)
from vfctl.protocol.websocket import frame
from vfctl.protocol.wire import MAX_MESSAGE_BYTES, Buffer
from vfctl.server.clocks import AwakeClock, monotonic_us, unix_time_us
from vfctl.server.gateway.bus_requests import Inquiry
from vfctl.server.gateway.client_manager import ClientManager
from vfctl.server.gateway.connection import ClientSocket, Connection
from vfctl.server.gateway.voice_relay import VoiceRelay
from vfctl.server.http.origins import Origins, own_names
from vfctl.server.http.physics_api import PhysicsDesk
from vfctl.server.http.replay_api import ReplayDesk
from vfctl.server.options import Recording, ServerOptions
from vfctl.server.process.scoreboard import Places
from vfctl.stream import ClientCoordinator, ConnectionOptions, Intervals, Scene
from vfctl.stream.voice_limit import (
    BYTES_PER_S,
    HIGHEST_RATE_HZ,
    LOWEST_RATE_HZ,
    MESSAGES_PER_S,
    VoiceDecision,
    VoiceLimit,
)

log = logging.getLogger(__name__)

MAX_CLIENT_MESSAGE_BYTES: Final = 64 * 1024
"""The largest message a client may send: two seconds of speech at 16 kHz."""

TURN_US: Final = 5_000
"""When what a client has said has taken so long, others have a turn: three times as long. What is read at a time, up to
256 KB, may be thousands of filters; answered in a row they are seconds in which nobody is served."""

MAX_SELECTIONS_TOLD: Final = 1000
"""A new client is told so many of the present selections, the newest."""


class Gateway:
    """Serves one bus subscription to any number of WebSocket clients.

    Args:
        options: of the server.
        number: this gateway's number, from 0.
        bus: where states come from and commands go to.
        places: for how many clients there is room; more are answered 503.

    Attributes:
        physics: what asks the source how the physics is set, and has it changed.
        replay: the same for a replay.
        replays: whether there is one to ask.
        origins: whose web pages may use it.
        encoding_limit: encodings that take more than this one are refused.
    """

    def __init__(self, options: ServerOptions, number: int, bus: BusConnection, places: Places) -> None:
        self.number = number
        self.places = places
        self._inquiry = Inquiry(bus, number)
        self.physics = PhysicsDesk(self._inquiry, options.admin)
        self.replay = ReplayDesk(self._inquiry, options.admin)
        stall_timeout_us, heartbeat_us = _us(options.stall_timeout_s * 1000), _us(options.heartbeat_s * 1000)
        self.clients = ClientManager(stall_timeout_us, heartbeat_us, options.slow_client)
        intervals = Intervals(_us(options.active_interval_ms), _us(options.stable_interval_ms))
        self.coordinator = ClientCoordinator(intervals, monotonic_us())
        self.graph: Graph | None = None
        self.last_tick_write_us = 0
        self._voice = VoiceRelay(self.clients)
        self._scene: Scene | None = None
        self._node_ids: frozenset[int] = frozenset()
        self._bus = bus
        self.encoding_limit = options.encoding_limit
        self._recorded = options.record is not None
        self.origins = Origins(options.allow_origins, own_names(options.host))
        self.replays = isinstance(options.source, Recording)
        self._ready = asyncio.Event()
        self._waiting_states: dict[Kind, Buffer] = {}
        self._selections: dict[int, int] = {}
        """What each client has selected, all gateways', who did it last at the end."""
        self._tick_began_us = 0
        self._awake_us = AwakeClock()

    @property
    def scene(self) -> Scene:
        """The state that is being served; there is one once `wait_ready` has returned."""
        assert self._scene is not None, "no graph has come over the bus yet"
        return self._scene

    async def wait_ready(self) -> None:
        """Until the first graph has come over the bus."""
        await self._ready.wait()

    async def follow_bus(self) -> None:
        """Take in what the source sends, and serve who is due at every state. Ends with the bus."""
        async for envelope in self._bus:
            self.handle(envelope)

    def handle(self, envelope: Envelope) -> None:
        """One envelope from the bus."""
        match envelope.kind:
            case Kind.GRAPH:
                self._replace_graph(envelope.payload)
            case Kind.FRAME | Kind.CONFIRM:
                self._take_state(envelope)
            case Kind.EVENT:
                self._relay(decode(envelope.payload), envelope)
            case Kind.REPLY:
                self._inquiry.take_reply(envelope)
            case _:
                log.warning("the bus brought a %s, which is not for gateways", envelope.kind.name)

    # -- towards the clients -------------------------------------------------------------------------

    def _take_state(self, envelope: Envelope) -> None:
        """Note a state, and serve it once all that has come over the bus by now has been read.

        A gateway that was busy finds several states waiting. Serving each of them would make every one of them late;
        only the newest is worth sending.
        """
        if not self._waiting_states:
            self._tick_began_us = monotonic_us()
            asyncio.get_running_loop().call_soon(self._serve_newest)
        if envelope.kind is Kind.FRAME:
            self._waiting_states.clear()
        self._waiting_states[envelope.kind] = envelope.payload

    def _serve_newest(self) -> None:
        states, self._waiting_states = self._waiting_states, {}
        if Kind.FRAME in states:
            update = decode(states[Kind.FRAME])
            assert isinstance(update, PositionUpdate)
            assert update.trailer is not None
            if update.trailer.interval_us:
                self._begin_interval(update.trailer.interval_us)
            self.scene.update(update.nodes, update.settled, update.trailer.timestamp_us)
        if Kind.CONFIRM in states:
            self.scene.confirm(TIMESTAMP.unpack(states[Kind.CONFIRM])[0])
        self._serve_due()

    def _replace_graph(self, payload: Buffer) -> None:
        self._waiting_states.clear()  # they were of the graph before
        message = decode(payload)
        assert isinstance(message, FullGraph)
        assert message.trailer is not None
        self.graph = from_full_graph(message, "served graph")
        self._node_ids = frozenset(self.graph.ids.tolist())
        timestamp_us, chain = message.trailer.timestamp_us, secrets.randbits(32)
        self._scene = Scene(self.graph, message.nodes, settled=False, timestamp_us=timestamp_us, chain=chain)
        for connection in self.clients:
            self.clients.watch(connection, self._scene.audience(connection.audience.variant))
            self._send_graph(connection)
        self._ready.set()

    def _serve_due(self) -> None:
        coordinator, clients = self.coordinator, self.clients
        coordinator.set_settled(self.scene.settled)
        now_us = monotonic_us()
        interval_us = coordinator.interval_us
        for due in coordinator.due(now_us):
            clients.deliver_due(due.clients, due.sequence, interval_us, now_us)
        # uvloop may write only at the end of this loop iteration; what is called in the next one sees the work done.
        asyncio.get_running_loop().call_soon(self._tick_done)

    def _begin_interval(self, next_us: int) -> None:
        """A recorded state has come: those who have not got the one before yet get that first."""
        now_us, interval_us = monotonic_us(), self.coordinator.interval_us
        for due in self.coordinator.begin_interval(now_us, next_us):
            self.clients.deliver_due(due.clients, due.sequence, interval_us, now_us)

    def _tick_done(self) -> None:
        now_us = monotonic_us()
        self.last_tick_write_us = now_us - self._tick_began_us
        self.coordinator.tick_done(self.last_tick_write_us, now_us, self._awake_us)

    def _send_graph(self, connection: Connection) -> None:
        self.clients.send_graph(connection, self.coordinator.sequence, self.coordinator.interval_us)

    def _relay(self, message: Message, envelope: Envelope) -> None:
        """What others have said: speech to those who listen, selections and errors to those who want notices."""
        match message:
            case VoiceData():
                self._relay_voice(message, envelope)
            case NodeSelect():
                self._tell_selection(envelope, message.node_id)
            case Notice() if envelope.client == EVERYBODY:  # a replay
                self._notify_all(frame(encode(message)))
            case Notice() if envelope.gateway == self.number:
                addressee = self.clients.get(envelope.client)
                if addressee is not None:
                    self._notify(addressee, message)
            case _:
                pass  # for another gateway's client

    def _relay_voice(self, message: VoiceData, envelope: Envelope) -> None:
        if envelope.client == EVERYBODY:  # a replay: the speaker is in the message
            self._voice.say(message, message.stream, None)
            return
        speaker = self.clients.get(envelope.client) if envelope.gateway == self.number else None
        self._voice.say(message, envelope.sender, speaker)

    def _tell_selection(self, envelope: Envelope, node_id: int | None) -> None:
        who = envelope.sender
        self._selections.pop(who, None)
        if node_id is not None:
            self._selections[who] = node_id
        own = self.clients.get(envelope.client) if envelope.gateway == self.number else None
        framed = _selection(who, node_id)
        for connection in self.clients:
            if connection.subscription.notices:
                self.clients.send(connection, framed if connection is not own else _selection(who, node_id, own=True))

    def _tell_present_selections(self, connection: Connection) -> None:
        """To one that has just come; behind its FullGraph, however long that is."""
        if connection.subscription.notices and self._selections:
            newest = list(self._selections.items())[-MAX_SELECTIONS_TOLD:]
            framed = b"".join(_selection(who, node_id) for who, node_id in newest)
            self.clients.send(connection, framed, behind=MAX_MESSAGE_BYTES)

    def _notify_all(self, framed: bytes) -> None:
        for connection in self.clients:
            if connection.subscription.notices:
                self.clients.send(connection, framed)

    def _notify(self, connection: Connection, notice: Notice) -> None:
        if connection.subscription.notices:
            self.clients.send(connection, frame(encode(notice)))

    # -- from the clients ----------------------------------------------------------------------------

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """`GET /ws`: a connection, from its handshake to its end."""
        try:
            subscription = ConnectionOptions.from_query(request.query, self.encoding_limit)
        except UsageError as error:
            return web.Response(status=400, text=f"{error.message}\n")
        refusal = self.places.take()
        if refusal is not None:
            self.clients.traffic.refused += 1
            return web.Response(status=503, text=f"{refusal}\n", headers={"Retry-After": "5"})
        try:
            return await self._converse(request, subscription)
        finally:
            self.places.give_back()

    async def _converse(self, request: web.Request, subscription: ConnectionOptions) -> web.StreamResponse:
        """With a client that has a place."""
        # aiohttp refuses a message of exactly the limit.
        socket = ClientSocket(compress=False, max_msg_size=MAX_CLIENT_MESSAGE_BYTES + 1)
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="this is a WebSocket endpoint; connect with ws://…/ws\n")
        try:
            await socket.prepare(request)
        except ConnectionError:
            return web.Response(status=400, text="gone during the handshake\n")  # aiohttp wants an answer to not write
        transport = request.transport
        if transport is None:
            return socket
        audience = self.scene.audience(subscription.variant)
        connection = self.clients.add(socket, transport, subscription, audience, monotonic_us())
        self._send_graph(connection)
        self._tell_present_selections(connection)
        self.coordinator.add(connection.place, connection.audience.variant)
        try:
            await self._listen(connection)
        finally:
            self.coordinator.remove(connection.place)
            self.clients.remove(connection)
            if connection.takes_part:
                self._bus.send(Envelope(Kind.LEFT, b"", self.number, connection.number))
        return socket

    async def _listen(self, connection: Connection) -> None:
        spent_us = 0
        async for incoming in connection.socket:
            began_us = monotonic_us()
            try:
                if incoming.type is not WSMsgType.BINARY:
                    raise ProtocolError("a text frame, expected one V4 message in a binary frame", offset=0)
                self._receive(connection, decode(incoming.data), incoming.data)
            except ProtocolError as error:
                self.clients.traffic.protocol_errors += 1
                self._notify(connection, Notice({"notice": "error", "message": error.message}))
                reason = error.message.encode()[:120].decode(errors="ignore")
                await connection.socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=reason.encode())
                return
            spent_us += monotonic_us() - began_us
            if spent_us >= TURN_US:
                await asyncio.sleep(3 * spent_us / 1e6)
                spent_us = 0

    def _receive(self, connection: Connection, message: Message, payload: bytes) -> None:
        connection.heard_us = monotonic_us()
        if self._recorded and isinstance(message, NodeSelect | NodeDrag | FilterUpdate | VoiceData):
            stamped = TIMESTAMP.pack(time.time_ns()) + payload
            self._bus.send(Envelope(Kind.HEARD, stamped, self.number, connection.number))
        match message:
            case FilterUpdate():
                variant = connection.audience.variant.with_filter(message.filter)
                self.clients.watch(connection, self.scene.audience(variant))
                self.coordinator.move(connection.place, variant)
                self._send_graph(connection)
            case Heartbeat(responder_timestamp_us=None):
                reply = Heartbeat(message.timestamp_us, unix_time_us())
                self.clients.send(connection, frame(encode(reply)))
            case NodeDrag():
                if not all(map(math.isfinite, (message.x, message.y, message.z))):
                    self._refuse(connection, f"node {message.node_id} cannot be dragged to a place that is not finite")
                elif message.node_id not in self._node_ids:
                    self._refuse(connection, f"there is no node {message.node_id}")
                else:
                    self._command(connection, payload)
            case NodeSelect():
                if message.node_id is not None and message.node_id not in self._node_ids:
                    self._refuse(connection, f"there is no node {message.node_id}")
                else:
                    self._command(connection, payload)
            case VoiceData():
                self._take_voice(connection, message, len(payload))
            case Heartbeat() | Reserved():
                pass  # the answer to ours, and what a newer peer may say
            case _:
                name = type(message).__name__
                raise ProtocolError(f"a {name}, expected a message that clients send", offset=1)

    def _take_voice(self, connection: Connection, message: VoiceData, size: int) -> None:
        """Hand speech on, unless it is too much or none."""
        now_us = connection.heard_us
        limit = connection.voice_limit = connection.voice_limit or VoiceLimit(now_us)
        if LOWEST_RATE_HZ <= message.sample_rate_hz <= HIGHEST_RATE_HZ:
            verdict = limit.admit(size, now_us)
            why = f"you say too much; {MESSAGES_PER_S} voice messages and {BYTES_PER_S:,} bytes a second are relayed"
        else:
            verdict = limit.drop(now_us)
            why = f"a sample rate of {message.sample_rate_hz} Hz; {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz are relayed"
        if verdict is VoiceDecision.RELAY:
            self._command(connection, encode(VoiceData(0, message.sample_rate_hz, message.samples)))
            return
        self.clients.traffic.voice_dropped += 1
        if verdict is VoiceDecision.DROP_AND_NOTIFY:
            self._refuse(connection, why)

    def _command(self, connection: Connection, payload: bytes) -> None:
        connection.takes_part = True
        self._bus.send(Envelope(Kind.COMMAND, payload, self.number, connection.number))

    def _refuse(self, connection: Connection, message: str) -> None:
        self._notify(connection, Notice({"notice": "error", "message": message}))


def _selection(who: int, node_id: int | None, **more: bool) -> bytes:
    return frame(encode(Notice({"notice": "selection", "client": who, "node_id": node_id, **more})))


def _us(milliseconds: float) -> int:
    return round(milliseconds * 1000)
