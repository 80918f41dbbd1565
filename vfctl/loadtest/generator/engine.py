"""The load generator's engine: thousands of WebSocket clients on bare sockets in one epoll loop.

It reads in batches, every few milliseconds: fewer wake-ups for the same messages, and the server gets the cores. That
costs no accuracy, since the kernel stamps what arrives (SO_TIMESTAMPNS). It reads from the first connection on:
sockets that nobody reads fill the kernel's TCP memory, and then connections stall in retransmission.
"""

from __future__ import annotations

import heapq
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from vfctl.client.lifecycle import Action, Close, Open, StartTimer, State
from vfctl.client.url import encoding_of
from vfctl.loadtest.generator.behaviour import Away, Send, SendBytes, Speak, Until, Wait, moments, script
from vfctl.loadtest.generator.clock_offset import ClockFilter, ClockSample, sample
from vfctl.loadtest.generator.dialer import FIRST_READ_BYTES, MAX_OPENING, Dialer, reason_of
from vfctl.loadtest.generator.frames import FrameReader
from vfctl.loadtest.generator.meter import NEVER_NS, Meter
from vfctl.loadtest.generator.observations import Connects, Outcome, StageSeen
from vfctl.loadtest.generator.plan import Shard, heartbeats_due
from vfctl.loadtest.generator.receiver import Receiver
from vfctl.loadtest.generator.simulated_client import STREAM_WORDS, SimulatedClient
from vfctl.loadtest.generator.speech import speak
from vfctl.loadtest.scenario.roles import ReconnectStorm, SlowReader
from vfctl.loadtest.scenario.stages import level_at
from vfctl.metrics import LatencyHistogram
from vfctl.protocol import Heartbeat, Message, decode, encode
from vfctl.protocol.websocket import Opcode, close_payload, frame_masked
from vfctl.sockets.fan_out import FanOut

BATCH_S: Final = 0.008
"""Time between two rounds of reading. Waking up costs some 50 µs, and a frame at 20 Hz has six times as long."""

MOST_ROUNDS: Final = 8
"""At a time, one frame of each client a round; who hears ten people talk gets four frames in 8 ms."""

HEARTBEAT_S: Final = 30.0

HEARTBEATS_EVERY_S: Final = 0.25
"""Those that are due meanwhile are sent together: one by one, each finds caches that other processes have filled."""

CLOCK_PROBES: Final = 8
"""So many of the first clients take turns, one a second, in sending a heartbeat more: to know the server's clock."""

SIP_S: Final = 0.1
"""How often a slow reader takes what it is allowed to."""

_ABORT: Final = struct.pack("@ii", 1, 0)
"""SO_LINGER of no time: closing sends RST, as a peer that is gone would."""


class Engine:
    """Runs one shard's clients. Tell it stages with `begin`; call `step` in a loop, it takes about BATCH_S each time.

    Attributes:
        connects: what connecting has shown so far.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._draw = random.Random(shard.number)
        streams = np.zeros((len(shard.cast), STREAM_WORDS), np.int64)
        self._clients = [
            SimulatedClient(number, role, shard.roles[role].attentive, stream)
            for number, (role, stream) in enumerate(zip(shard.cast, streams, strict=True))
        ]
        self._dialer = Dialer(shard, self._after, self)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._started_s = self._next_batch_s = time.monotonic()
        self._heartbeats_s = 0.0
        self._fan_out = FanOut(plain=True)
        self._level = 0
        self._change = (self._started_s, 0.0, 0, 0)
        self._leaving = False
        self._outcomes: list[Outcome] | None = None
        """As last counted; None once somebody has come or gone since."""
        self._clock = ClockFilter()
        self.connects = Connects()
        compact = encoding_of(shard.target.resource) == "compact"
        self._meter = Meter(shard.roles, self.connects.errors, compact)
        self._receiver = Receiver(self._meter, self, self._clients, streams, len(shard.roles))

    # -- stages --------------------------------------------------------------------------------------

    def begin(self, clients: int, over_s: float, start_ns: int, end_ns: int = NEVER_NS, storms: bool = False) -> None:
        """A stage: so many clients within `over_s`, and what arrives in [start, end), unix time in ns, belongs to it.

        Args:
            clients: of this shard.
            storms: break reconnect storms during it.
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
                    for moment_s in moments(start_s, start_s + (end_ns - start_ns) / 1e9, role.every_s):
                        self._after(moment_s - now_s, lambda role=index: self._storm(role))  # type: ignore[misc]

    def set_clock_offset(self, offset_us: int) -> None:
        """What the server's clock is ahead of ours."""
        self._meter.offset_us = offset_us

    def clock(self) -> ClockSample | None:
        """The best that heartbeats have told of the server's clock."""
        return self._clock.best(time.monotonic())

    def outcomes(self) -> list[Outcome]:
        """How the clients fare at this moment, by role."""
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
                continue  # on its way out
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
        """How all clients fare at this moment."""
        return sum(self.outcomes(), Outcome())

    def totals(self) -> tuple[int, int]:
        """Messages and bytes received so far."""
        return self._meter.totals()

    def take_recent(self) -> LatencyHistogram:
        """Latencies since the last call."""
        return self._meter.take_recent(time.time_ns())

    def step(self) -> float:
        """One batch: connect who is due, run timers, read what has arrived, then let the machine breathe.

        Returns:
            How much later than planned the batch began, in seconds.
        """
        began_s = time.monotonic()
        lag_s = max(0.0, began_s - self._next_batch_s)
        self._follow_level(began_s)
        self._run_timers(began_s)
        if began_s - self._started_s - self._heartbeats_s >= HEARTBEATS_EVERY_S:
            self._send_heartbeats(began_s - self._started_s)
        for _ in range(MOST_ROUNDS):
            if not self._receiver.read_round():
                break
        self._next_batch_s = began_s + BATCH_S
        self._dialer.work(self._next_batch_s)
        time.sleep(max(0.0, self._next_batch_s - time.monotonic()))
        return lag_s

    def leave(self) -> list[StageSeen]:
        """Close all connections properly; nobody comes back. What has been seen, stage by stage."""
        self._close_stage()
        self._leaving = True
        for client in self._clients:
            self._dismiss(client)
        self._receiver.close()
        self._dialer.close()
        self.connects.flush()
        return self._meter.report(time.time_ns())

    def _close_stage(self) -> None:
        if self._meter.begun:
            self._meter.close(self._clients, self.outcomes(), time.time_ns())

    # -- coming and going ----------------------------------------------------------------------------

    def _follow_level(self, now_s: float) -> None:
        began_s, over_s, first, last = self._change
        if self._level == last:
            return
        self._outcomes = None
        wanted = level_at(now_s - began_s, over_s, first, last)
        while self._level < wanted and self._dialer.opening < MAX_OPENING:
            client = self._clients[self._level]
            self._level += 1
            client.wanted = True
            self._act(client, client.life.connect())
        while self._level > wanted:
            self._level -= 1
            self._dismiss(self._clients[self._level])

    def _dismiss(self, client: SimulatedClient) -> None:
        """It is not wanted any more, and leaves properly."""
        client.wanted = client.away = client.ever_connected = False
        client.lost_ns = 0
        client.expect_nothing()
        if client.life.state is State.CONNECTED:
            self.send(client, close_payload(1000), Opcode.CLOSE)
        client.life.disconnect()
        self._drop(client)

    def _storm(self, role: int) -> None:
        for client in self._clients[: self._level]:
            if client.role == role and client.reader is not None:
                self._break_off(client)
                self._lost(client, 1006)

    def _break_off(self, client: SimulatedClient) -> None:
        assert client.socket is not None
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        client.expect_nothing()

    def _go_away(self, client: SimulatedClient, seconds: float) -> None:
        self._break_off(client)
        client.away = True
        client.life.disconnect()
        self._drop(client)
        self._after(seconds, lambda: self._come_back(client))

    def _come_back(self, client: SimulatedClient) -> None:
        if client.away and client.wanted and not self._leaving:
            self._act(client, client.life.connect())

    def _act(self, client: SimulatedClient, action: Action | None) -> None:
        self._outcomes = None
        match action:
            case Open():
                self._dialer.open(client)
            case Close():
                self._drop(client)
            case StartTimer(delay_s):
                self._after(delay_s, lambda: self._act(client, client.life.backoff_elapsed()))

    def on_open_failed(self, client: SimulatedClient, reason: str) -> None:
        """From the dialer."""
        self.connects.errors[reason] += 1
        client.away = False
        self._drop(client)
        self._act(client, client.life.open_failed())

    def on_open(self, client: SimulatedClient, rest: bytes) -> None:
        """From the dialer."""
        now_ns = time.monotonic_ns()
        lost_for_us = (now_ns - client.lost_ns) // 1000 if client.lost_ns else None
        self.connects.record((now_ns - client.started_ns) // 1000, lost_for_us)
        client.lost_ns = 0
        client.away = False
        client.reader = FrameReader(FIRST_READ_BYTES)
        self._meter.connected(client)
        client.ever_connected = True
        client.forget_rounds()
        self._act(client, client.life.opened(time.monotonic()))
        role = self._shard.roles[client.role]
        now_s, rank = time.monotonic() - self._started_s, self._shard.ranks[client.number]
        client.script = script(role, client.role, self._shard.world, self._draw, rank=rank, now_s=now_s)
        if client.script is not None:
            self._play(client, client.attempt)
        if rest and client.socket is not None:
            self._receiver.take_in(client, rest)
        if client.socket is None:  # what it had to say or hear has ended it
            return
        self._receiver.watch(client)
        if isinstance(role, SlowReader) and role.bytes_per_s:
            self._sip(client, client.attempt, max(1, round(role.bytes_per_s * SIP_S)))

    def _play(self, client: SimulatedClient, attempt: int) -> None:
        """Go on with a client's script, unless the connection that it belongs to is gone."""
        while client.attempt == attempt and client.reader is not None and client.script is not None:
            match next(client.script, None):
                case Send(message):
                    self._say(client, message)
                case SendBytes(payload):
                    self.send(client, payload, Opcode.BINARY)
                case Speak():
                    self._say(client, speak(time.time_ns() // 1000))
                case Wait(seconds):
                    self._after(seconds, lambda: self._play(client, attempt))
                    return
                case Until(at_s):
                    self._after(self._started_s + at_s - time.monotonic(), lambda: self._play(client, attempt))
                    return
                case Away(seconds):
                    self._go_away(client, seconds)
                case None:
                    client.script = None

    def _sip(self, client: SimulatedClient, attempt: int, count: int) -> None:
        """A slow reader takes a little."""
        if client.attempt != attempt or client.reader is None:
            return
        self._receiver.read_part(client, count)
        self._after(SIP_S, lambda: self._sip(client, attempt, count))

    # -- what the receiver tells ---------------------------------------------------------------------

    def on_closed(self, client: SimulatedClient, code: int, reason: str) -> None:
        """From the receiver: the connection is over."""
        self.connects.errors[reason] += 1
        self._lost(client, code)

    def _lost(self, client: SimulatedClient, code: int) -> None:
        client.lost_ns = time.monotonic_ns()
        self._drop(client)
        self._act(client, client.life.closed(code, time.monotonic()))

    def on_heartbeat(self, client: SimulatedClient, payload: bytes, arrival_us: int) -> None:
        """From the receiver: a heartbeat to be answered, or the answer to one."""
        message = decode(payload)
        if not isinstance(message, Heartbeat):
            return
        if message.responder_timestamp_us is None:
            self._say(client, Heartbeat(message.timestamp_us, time.time_ns() // 1000))
        elif client.number < CLOCK_PROBES:
            told = sample(message.timestamp_us, message.responder_timestamp_us, arrival_us)
            self._clock.add(told, time.monotonic())

    # -- writing -------------------------------------------------------------------------------------

    def _send_heartbeats(self, elapsed_s: float) -> None:
        last_s, self._heartbeats_s = self._heartbeats_s, elapsed_s
        due = set(heartbeats_due(last_s, elapsed_s, self._level, HEARTBEAT_S))
        due.update(heartbeats_due(last_s, elapsed_s, min(CLOCK_PROBES, self._level), CLOCK_PROBES))
        due_clients = map(self._clients.__getitem__, due)
        ready = [(client, client.socket) for client in due_clients if client.life.state is State.CONNECTED]
        if not ready:
            return
        framed = frame_masked(encode(Heartbeat(time.time_ns() // 1000)), os.urandom(4))  # sent at the same moment
        fds = np.array([sock.fileno() for _, sock in ready if sock is not None], np.int32)
        assert len(fds) == len(ready), "who is connected has a socket"
        for index, _ in self._fan_out.send(fds, (framed,)):
            self._send_framed(ready[index][0], framed)  # which says what is wrong

    def _say(self, client: SimulatedClient, message: Message) -> None:
        self.send(client, encode(message), Opcode.BINARY)

    def send(self, client: SimulatedClient, payload: bytes, opcode: Opcode) -> None:
        """Mask and send a small frame."""
        self._send_framed(client, frame_masked(payload, os.urandom(4), opcode))

    def _send_framed(self, client: SimulatedClient, framed: bytes) -> None:
        """Send a small message. A socket that does not take it at once has not been read by the server for long."""
        if client.socket is None:
            return
        try:
            client.socket.send(framed)
        except OSError as error:
            self.connects.errors[f"send: {reason_of(error.errno)}"] += 1

    # -- timers and clearing up ----------------------------------------------------------------------

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._timer_count, call))

    def _run_timers(self, now_s: float) -> None:
        while self._timers and self._timers[0][0] <= now_s:
            heapq.heappop(self._timers)[2]()

    def _drop(self, client: SimulatedClient) -> None:
        self._dialer.settle(client)
        if client.socket is not None:
            self._receiver.forget(client.socket.fileno())
            client.socket.close()
        client.socket = None
        client.reader = None
        client.script = None
        client.key = ""
        client.handshake = b""
