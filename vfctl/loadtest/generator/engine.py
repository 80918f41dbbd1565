"""The load generator's engine: thousands of WebSocket clients on bare sockets in one epoll loop.

It reads in batches, every few milliseconds: fewer wake-ups for the same messages, and more CPU for the server. That
costs no accuracy, because the kernel stamps arrivals (SO_TIMESTAMPNS). It reads from the first connection on, because
unread sockets fill the kernel's TCP memory, and then connections stall in retransmission.
"""

from __future__ import annotations

import heapq
import os
import random
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from vfctl.client.lifecycle import Action, Close, Open, StartTimer, State
from vfctl.client.url import encoding_of
from vfctl.loadtest.generator.behaviour import (
    BreakOff,
    Send,
    SendBytes,
    Speak,
    Wait,
    WaitUntil,
    script,
    storm_times,
    voice_message,
)
from vfctl.loadtest.generator.dialer import FIRST_READ_BYTES, MAX_OPENING, Dialer, reason_of
from vfctl.loadtest.generator.frames import FrameReader
from vfctl.loadtest.generator.heartbeats import (
    CLOCK_PROBES,
    HEARTBEAT_S,
    ClockFilter,
    ClockSample,
    clock_sample,
    heartbeats_due,
)
from vfctl.loadtest.generator.meter import NEVER_NS, Meter
from vfctl.loadtest.generator.observations import ConnectStats, Observations, Outcome, StageObservations
from vfctl.loadtest.generator.plan import Shard
from vfctl.loadtest.generator.receiver import Receiver
from vfctl.loadtest.generator.simulated_client import STREAM_WORDS, SimulatedClient
from vfctl.loadtest.scenario.roles import ReconnectStorm, SlowReader
from vfctl.loadtest.scenario.stages import level_at
from vfctl.metrics import LatencyHistogram
from vfctl.protocol import Heartbeat, Message, decode, encode
from vfctl.protocol.websocket import Opcode, close_payload, frame_masked
from vfctl.sockets.fan_out import FanOut

BATCH_S: Final = 0.008
"""Time between two batches. A wake-up costs about 50 µs, and the interval at 20 Hz is six batches long."""

MAX_PASSES: Final = 8
"""Read passes per batch, one frame of each client in a pass. A listener to ten speakers gets four frames in 8 ms."""

HEARTBEATS_PERIOD_S: Final = 0.25
"""Heartbeats that are due within this time are sent together, while the code is in the CPU's caches."""

SLOW_READ_PERIOD_S: Final = 0.1
"""Time between two reads of a slow reader."""

_RESET: Final = struct.pack("@ii", 1, 0)
"""SO_LINGER with no time: closing sends RST, as if the peer had vanished."""


class Engine:
    """Runs the clients of one shard. Call `begin_stage` for each stage, and `step` in a loop; a step takes BATCH_S.

    Attributes:
        connects: statistics of the connection attempts so far.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._draw = random.Random(shard.number)
        streams = np.zeros((len(shard.role_of), STREAM_WORDS), np.int64)
        self._clients = [
            SimulatedClient(number, role, shard.roles[role].attentive, stream)
            for number, (role, stream) in enumerate(zip(shard.role_of, streams, strict=True))
        ]
        self._dialer = Dialer(shard, self._call_later, self)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._started_s = self._next_batch_s = time.monotonic()
        self._heartbeats_s = 0.0
        self._fan_out = FanOut(plain=True)
        self._level = 0
        self._change = (self._started_s, 0.0, 0, 0)
        self._closing = False
        self._outcomes: list[Outcome] | None = None
        """The newest counts; None if a client has connected or disconnected since."""
        self._clock = ClockFilter()
        self.connects = ConnectStats()
        compact = encoding_of(shard.target.resource) == "compact"
        self._meter = Meter(shard.roles, self.connects.errors, compact)
        self._receiver = Receiver(self._meter, self, self._clients, streams, len(shard.roles))

    # -- stages --------------------------------------------------------------------------------------

    def begin_stage(
        self, clients: int, over_s: float, start_ns: int, end_ns: int = NEVER_NS, storms: bool = False
    ) -> None:
        """Begin a stage. Messages that arrive in [start_ns, end_ns), unix time, belong to it.

        Args:
            clients: the number of clients of this shard at its end.
            over_s: the time in which they connect or leave.
            storms: whether reconnect storms occur in it.
        """
        self._close_stage()
        self._meter.begin(start_ns, end_ns, self._clients[: self._level])
        now_s = time.monotonic()
        self._change = (now_s, over_s, self._level, clients)
        self._outcomes = None
        if storms and end_ns < NEVER_NS:
            start_s = now_s + (start_ns - time.time_ns()) / 1e9
            for index, role in enumerate(self._shard.roles):
                if isinstance(role, ReconnectStorm):
                    for at_s in storm_times(start_s, start_s + (end_ns - start_ns) / 1e9, role.every_s):
                        self._call_later(at_s - now_s, lambda role=index: self._storm(role))  # type: ignore[misc]

    def set_clock_offset(self, offset_us: int) -> None:
        """Set how far the server's clock is ahead of ours."""
        self._meter.offset_us = offset_us

    def clock(self) -> ClockSample | None:
        """The best sample of the server's clock; None if there is none yet."""
        return self._clock.best(time.monotonic())

    def outcomes(self) -> list[Outcome]:
        """The state of the clients now, for each role."""
        if self._outcomes is None:
            self._outcomes = self._count_outcomes()
        return self._outcomes

    def _count_outcomes(self) -> list[Outcome]:
        counts = [[0] * 7 for _ in self._shard.roles]
        last = self._change[3]
        for client in self._clients[: max(self._level, last)]:
            target, connected, failed, lost, away, connecting, reconnects = range(7)
            count, life = counts[client.role], client.life
            count[reconnects] += life.reconnects
            if client.number >= last:
                continue  # it is about to leave
            count[target] += 1
            if life.state is State.CONNECTED:
                count[connected] += 1
            elif client.away:
                count[away] += 1
            elif client.ever_connected:
                count[lost if client.attentive else away] += 1
            elif life.state is State.DISCONNECTED and client.attempt and client.wanted:
                count[failed] += 1
            else:
                count[connecting] += 1
        return [Outcome(*count) for count in counts]

    def outcome(self) -> Outcome:
        """The state of all clients now."""
        return sum(self.outcomes(), Outcome())

    @property
    def received(self) -> Sequence[Observations]:
        """What the clients have received in the present stage, for each role."""
        return self._meter.present

    def totals(self) -> tuple[int, int]:
        """Messages and bytes received so far."""
        return self._meter.totals()

    def drain_recent(self) -> LatencyHistogram:
        """Latencies since the last call, in µs."""
        return self._meter.drain_recent(time.time_ns())

    def step(self) -> float:
        """Perform one batch: connect clients that are due, run timers, read what has arrived, then sleep.

        Returns:
            The delay of the batch against its plan, in seconds.
        """
        began_s = time.monotonic()
        lag_s = max(0.0, began_s - self._next_batch_s)
        self._follow_level(began_s)
        self._run_timers(began_s)
        if began_s - self._started_s - self._heartbeats_s >= HEARTBEATS_PERIOD_S:
            self._send_heartbeats(began_s - self._started_s)
        for _ in range(MAX_PASSES):
            if not self._receiver.read_pass():
                break
        self._next_batch_s = began_s + BATCH_S
        self._dialer.work(self._next_batch_s)
        time.sleep(max(0.0, self._next_batch_s - time.monotonic()))
        return lag_s

    def close(self) -> list[StageObservations]:
        """Close all connections with a Close frame. Returns what was seen, by stage."""
        self._close_stage()
        self._closing = True
        for client in self._clients:
            self._disconnect(client)
        self._receiver.close()
        self._dialer.close()
        self.connects.flush()
        return self._meter.report(time.time_ns())

    def _close_stage(self) -> None:
        if self._meter.begun:
            self._meter.close(self._clients, self.outcomes(), time.time_ns())

    # -- connecting and disconnecting ----------------------------------------------------------------

    def _follow_level(self, now_s: float) -> None:
        """Connect or disconnect clients as the stage requires."""
        began_s, over_s, first, last = self._change
        if self._level == last:
            return
        self._outcomes = None
        wanted = level_at(now_s - began_s, over_s, first, last)
        while self._level < wanted and self._dialer.opening < MAX_OPENING:
            client = self._clients[self._level]
            self._level += 1
            client.wanted = True
            self._perform(client, client.life.connect())
        while self._level > wanted:
            self._level -= 1
            self._disconnect(self._clients[self._level])

    def _disconnect(self, client: SimulatedClient) -> None:
        """Disconnect a client that is no longer wanted, with a Close frame."""
        client.wanted = client.away = client.ever_connected = False
        client.lost_ns = 0
        client.cancel_due_update()
        if client.life.state is State.CONNECTED:
            self.send(client, close_payload(1000), Opcode.CLOSE)
        client.life.disconnect()
        self._drop(client)

    def _storm(self, role: int) -> None:
        """All clients of a role lose their connections at once."""
        for client in self._clients[: self._level]:
            if client.role == role and client.reader is not None:
                self._reset(client)
                self._lost(client, 1006)

    def _reset(self, client: SimulatedClient) -> None:
        """Have the coming close of a connection send RST."""
        assert client.socket is not None
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.cancel_due_update()

    def _break_off(self, client: SimulatedClient, away_s: float) -> None:
        self._reset(client)
        client.away = True
        client.life.disconnect()
        self._drop(client)
        self._call_later(away_s, lambda: self._come_back(client))

    def _come_back(self, client: SimulatedClient) -> None:
        if client.away and client.wanted and not self._closing:
            self._perform(client, client.life.connect())

    def _perform(self, client: SimulatedClient, action: Action | None) -> None:
        """Perform what the life cycle asks for."""
        self._outcomes = None
        match action:
            case Open():
                self._dialer.open(client)
            case Close():
                self._drop(client)
            case StartTimer(delay_s):
                self._call_later(delay_s, lambda: self._perform(client, client.life.backoff_elapsed()))

    def on_open_failed(self, client: SimulatedClient, reason: str) -> None:
        """A connection attempt has failed."""
        self.connects.errors[reason] += 1
        client.away = False
        self._drop(client)
        self._perform(client, client.life.open_failed())

    def on_open(self, client: SimulatedClient, rest: bytes) -> None:
        """A handshake is done; `rest` arrived with it."""
        now_ns = time.monotonic_ns()
        lost_for_us = (now_ns - client.lost_ns) // 1000 if client.lost_ns else None
        self.connects.record((now_ns - client.started_ns) // 1000, lost_for_us)
        client.lost_ns = 0
        client.away = False
        client.reader = FrameReader(FIRST_READ_BYTES)
        self._meter.on_connected(client)
        client.ever_connected = True
        client.restart_stream()
        self._perform(client, client.life.opened(time.monotonic()))
        role = self._shard.roles[client.role]
        now_s, rank = time.monotonic() - self._started_s, self._shard.role_ranks[client.number]
        client.script = script(role, client.role, self._shard.context, self._draw, role_rank=rank, now_s=now_s)
        if client.script is not None:
            self._run_script(client, client.attempt)
        if rest and client.socket is not None:
            self._receiver.parse_rest(client, rest)
        if client.socket is None:  # its script or the rest has ended the connection
            return
        self._receiver.add(client)
        if isinstance(role, SlowReader) and role.bytes_per_s:
            self._read_slowly(client, client.attempt, max(1, round(role.bytes_per_s * SLOW_READ_PERIOD_S)))

    def _run_script(self, client: SimulatedClient, attempt: int) -> None:
        """Continue a client's script, unless the connection that it belongs to has ended."""
        while client.attempt == attempt and client.reader is not None and client.script is not None:
            match next(client.script, None):
                case Send(message):
                    self._send_message(client, message)
                case SendBytes(payload):
                    self.send(client, payload, Opcode.BINARY)
                case Speak():
                    self._send_message(client, voice_message(time.time_ns() // 1000))
                case Wait(seconds):
                    self._call_later(seconds, lambda: self._run_script(client, attempt))
                    return
                case WaitUntil(at_s):
                    delay_s = self._started_s + at_s - time.monotonic()
                    self._call_later(delay_s, lambda: self._run_script(client, attempt))
                    return
                case BreakOff(seconds):
                    self._break_off(client, seconds)
                case None:
                    client.script = None

    def _read_slowly(self, client: SimulatedClient, attempt: int, count: int) -> None:
        """Read `count` bytes for a slow reader, again and again."""
        if client.attempt != attempt or client.reader is None:
            return
        self._receiver.read_part(client, count)
        self._call_later(SLOW_READ_PERIOD_S, lambda: self._read_slowly(client, attempt, count))

    def on_closed(self, client: SimulatedClient, code: int, reason: str) -> None:
        """A connection has ended."""
        self.connects.errors[reason] += 1
        self._lost(client, code)

    def _lost(self, client: SimulatedClient, code: int) -> None:
        client.lost_ns = time.monotonic_ns()
        self._drop(client)
        self._perform(client, client.life.closed(code, time.monotonic()))

    def on_heartbeat(self, client: SimulatedClient, payload: bytes, arrival_us: int) -> None:
        """A heartbeat arrived and is answered; or the reply to one of ours, which is a clock sample."""
        message = decode(payload)
        if not isinstance(message, Heartbeat):
            return
        if message.responder_timestamp_us is None:
            self._send_message(client, Heartbeat(message.timestamp_us, time.time_ns() // 1000))
        elif client.number < CLOCK_PROBES:
            sample = clock_sample(message.timestamp_us, message.responder_timestamp_us, arrival_us)
            self._clock.add(sample, time.monotonic())

    # -- sending -------------------------------------------------------------------------------------

    def _send_heartbeats(self, elapsed_s: float) -> None:
        last_s, self._heartbeats_s = self._heartbeats_s, elapsed_s
        due = set(heartbeats_due(last_s, elapsed_s, self._level, HEARTBEAT_S))
        due.update(heartbeats_due(last_s, elapsed_s, min(CLOCK_PROBES, self._level), CLOCK_PROBES))
        due_clients = map(self._clients.__getitem__, due)
        ready = [(client, client.socket) for client in due_clients if client.life.state is State.CONNECTED]
        if not ready:
            return
        framed = frame_masked(encode(Heartbeat(time.time_ns() // 1000)), os.urandom(4))  # all are sent at once
        fds = np.array([sock.fileno() for _, sock in ready if sock is not None], np.int32)
        assert len(fds) == len(ready), "a connected client has a socket"
        for index, _ in self._fan_out.send(fds, (framed,)):
            self._send_framed(ready[index][0], framed)  # records the error

    def _send_message(self, client: SimulatedClient, message: Message) -> None:
        self.send(client, encode(message), Opcode.BINARY)

    def send(self, client: SimulatedClient, payload: bytes, opcode: Opcode) -> None:
        """Mask and send a small frame."""
        self._send_framed(client, frame_masked(payload, os.urandom(4), opcode))

    def _send_framed(self, client: SimulatedClient, framed: bytes) -> None:
        """Send a small frame. It fails only if the server has not read the socket for a long time."""
        if client.socket is None:
            return
        try:
            client.socket.send(framed)
        except OSError as error:
            self.connects.errors[f"send: {reason_of(error.errno)}"] += 1

    # -- timers and cleaning up ----------------------------------------------------------------------

    def _call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._timer_count, call))

    def _run_timers(self, now_s: float) -> None:
        while self._timers and self._timers[0][0] <= now_s:
            heapq.heappop(self._timers)[2]()

    def _drop(self, client: SimulatedClient) -> None:
        """Close the socket of a client."""
        self._dialer.end_attempt(client)
        if client.socket is not None:
            self._receiver.remove(client.socket.fileno())
            client.socket.close()
        client.socket = None
        client.reader = None
        client.script = None
        client.key = ""
        client.handshake = b""
