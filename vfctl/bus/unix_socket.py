"""The bus of one machine: a UNIX socket that the frame source listens on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np

from vfctl.bus.envelope import ENVELOPE, EVERYBODY, TIMESTAMP, Envelope, Kind
from vfctl.errors import PeerError, ProtocolError
from vfctl.protocol.wire import MessageType

MAX_WAITING_EVENTS: Final = 1024
"""Events that wait for one gateway; beyond it the oldest go. Frames never queue at all, and of selections the newest of
each client waits, however many clients: one that is never told to be gone would stay with the gateway."""

MAX_WAITING_HEARD: Final = 65_536
"""Events that wait for a recorder, who also gets what clients say."""

MAX_WAITING_VOICE: Final = 256
"""VoiceData that waits for one gateway; beyond it the oldest go: they cannot push out a selection."""

MAX_WAITING_COMMAND_BYTES: Final = 2**20
"""Commands that wait for a source which does not read; beyond it new ones are dropped."""

LEAST_SEND_BUFFER_BYTES: Final = 128 * 1024
"""Linux's default is more than this (net.core.wmem_default)."""

_CONNECT_RETRY_S: Final = 0.02


class _Subscriber:
    """One gateway as the source sees it: the newest state waits for it, never a queue of states.

    Attributes:
        listens: it is a recorder, and also gets what clients say.
        gateway: its number, once it has sent a command.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.listens = False
        self.gateway: int | None = None
        self._pause_s = 0.0
        self._lost = 0
        writer.transport.set_write_buffer_limits(high=0)  # drain() returns when the kernel has taken everything
        self._room = LEAST_SEND_BUFFER_BYTES
        self._writer = writer
        self._graph: Envelope | None = None
        self._frame: Envelope | None = None
        self._confirm: Envelope | None = None
        self._events: deque[Envelope] = deque(maxlen=MAX_WAITING_EVENTS)
        self._selections: dict[tuple[int, int], Envelope] = {}
        self._voice: deque[Envelope] = deque(maxlen=MAX_WAITING_VOICE)
        self._something = asyncio.Event()

    def put(self, envelope: Envelope) -> None:
        match envelope.kind:
            case Kind.GRAPH:
                self._graph, self._frame, self._confirm = envelope, None, None
            case Kind.FRAME:
                self._frame, self._confirm = envelope, None
            case Kind.CONFIRM:
                self._confirm = envelope
            case Kind.EVENT if not self.listens and envelope.payload[1] == MessageType.VOICE_DATA:
                self._voice.append(envelope)
            case Kind.EVENT if not self.listens and envelope.payload[1] == MessageType.NODE_SELECT:
                client = envelope.gateway, envelope.client
                self._selections.pop(client, None)  # who did it last at the end
                self._selections[client] = envelope
            case _:
                self._lost += len(self._events) == self._events.maxlen
                self._events.append(envelope)
        self._something.set()

    def miss(self, count: int) -> None:
        """So many messages were lost on their way to here."""
        self._lost += count
        self._something.set()

    def listen(self, pause_us: int) -> None:
        """It is a recorder, and is written to once in so many µs at most."""
        self.listens = True
        self._pause_s = pause_us / 1e6
        self._events = deque([*self._events, *self._selections.values()], MAX_WAITING_HEARD)
        self._selections.clear()

    async def write_forever(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = 0.0
        while True:
            await self._something.wait()
            if self._pause_s:
                await asyncio.sleep(next_s - loop.time())
                is_behind = loop.time() - next_s > self._pause_s
                next_s = (loop.time() if is_behind else next_s) + self._pause_s
            self._something.clear()
            state = [envelope for envelope in (self._graph, self._frame, self._confirm) if envelope]
            self._graph = self._frame = self._confirm = None
            events = list(self._events)
            self._events.clear()
            if self._lost and self.listens:
                events.append(Envelope(Kind.LOST, TIMESTAMP.pack(self._lost)))
            self._lost = 0
            if not self.listens:
                events += [*self._selections.values(), *self._voice]
            self._selections.clear()
            self._voice.clear()
            packed = b"".join(envelope.pack() for envelope in state + events)
            self._make_room(len(packed))
            self._writer.write(packed)
            await self._writer.drain()

    def _make_room(self, size: int) -> None:
        """Let the kernel take so much at once: a large state that goes in pieces wakes both ends for each of them."""
        if size > self._room:
            self._room = size
            sock = self._writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has gone
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


class BusServer:
    """The source's end: publishes states and events, receives commands.

    Args:
        path: where the socket is made.

    Attributes:
        on_command: called with every COMMAND and LEFT envelope, also with a LEFT for a gateway that has gone itself;
            until it is set commands are of no use to anybody.
        on_join: the EVENTs that a new subscriber is to get behind graph and frame.
        on_request: the same for REQUEST; what it returns is the payload of the REPLY.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.on_command: Callable[[Envelope], None] = lambda _: None
        self.on_join: Callable[[], Iterable[Envelope]] = lambda: ()
        self.on_request: Callable[[bytes], bytes] | None = None
        self._subscribers: set[_Subscriber] = set()
        self._graph: Envelope | None = None
        self._frame: Envelope | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen. Subscribers that come before the first graph wait for it."""
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    def publish_graph(self, message: bytes) -> None:
        """FullGraph with METADATA and TIMED: from now on this graph is served."""
        self._graph, self._frame = Envelope(Kind.GRAPH, message), None
        self._put(self._graph)

    def publish_frame(self, message: bytes) -> None:
        """The newest PositionUpdate, TIMED."""
        self._frame = Envelope(Kind.FRAME, message)
        self._put(self._frame)

    def confirm(self, timestamp_us: int) -> None:
        """The last frame is still valid at this unix time in µs."""
        self._put(Envelope(Kind.CONFIRM, TIMESTAMP.pack(timestamp_us)))

    def publish_event(self, envelope: Envelope) -> None:
        """An EVENT for the gateways."""
        self._put(envelope)

    async def close(self) -> None:
        """Stop listening and leave all subscribers."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _put(self, envelope: Envelope) -> None:
        for subscriber in self._subscribers:
            subscriber.put(envelope)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        subscriber = _Subscriber(writer)
        self._subscribers.add(subscriber)
        for envelope in (self._graph, self._frame, *self.on_join()):
            if envelope:
                subscriber.put(envelope)
        sending = asyncio.create_task(subscriber.write_forever())
        try:
            async for envelope in _read_envelopes(reader):
                if envelope.kind in (Kind.COMMAND, Kind.LEFT):
                    subscriber.gateway = envelope.gateway
                    self.on_command(envelope)
                elif envelope.kind is Kind.REQUEST and self.on_request is not None:
                    answer = self.on_request(bytes(envelope.payload))
                    subscriber.put(Envelope(Kind.REPLY, answer, envelope.gateway, envelope.client))
                elif envelope.kind is Kind.HEARD:
                    for other in self._subscribers:
                        if other.listens:
                            other.put(envelope)
                elif envelope.kind is Kind.LOST:
                    for other in self._subscribers:
                        if other.listens:
                            other.miss(*TIMESTAMP.unpack(envelope.payload))
                elif envelope.kind is Kind.LISTEN:
                    subscriber.listen(*TIMESTAMP.unpack(envelope.payload))
        except asyncio.CancelledError:
            pass  # close() ends us; a cancelled handler would be reported by asyncio as an error
        finally:
            self._subscribers.discard(subscriber)
            if subscriber.gateway is not None:
                self.on_command(Envelope(Kind.LEFT, b"", subscriber.gateway, EVERYBODY))
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sending
            writer.close()
            self._tasks.discard(task)


class UnixSubscription:
    """A gateway's end of the bus; see `vfctl.bus.envelope.Subscription`."""

    def __init__(self, transport: asyncio.Transport, receiver: EnvelopeReceiver) -> None:
        self._transport = transport
        self._receiver = receiver
        self._unheard = 0

    async def __aiter__(self) -> AsyncIterator[Envelope]:
        """As for `vfctl.bus.envelope.Subscription`."""
        while (envelope := await self._receiver.next()) is not None:
            yield envelope

    def send(self, envelope: Envelope) -> None:
        """Hand a client's command, or a question, to the source; lost if the source has gone or is far behind.

        What recorders miss for that is told to them as soon as the source reads again. That a client has gone is always
        said: it is short, and else what it has selected would stay.
        """
        transport = self._transport
        has_room = transport.get_write_buffer_size() < MAX_WAITING_COMMAND_BYTES or envelope.kind is Kind.LEFT
        if not transport.is_closing() and has_room:
            self._tell_what_was_unheard()
            transport.write(envelope.pack())
        else:
            self._unheard += envelope.kind is Kind.HEARD

    def _tell_what_was_unheard(self) -> None:
        if self._unheard:
            self._transport.write(Envelope(Kind.LOST, TIMESTAMP.pack(self._unheard)).pack())
            self._unheard = 0

    async def close(self) -> None:
        """Leave the bus."""
        if not self._transport.is_closing():
            self._tell_what_was_unheard()
        self._transport.close()
        await self._receiver.closed()


async def subscribe(path: Path, *, timeout_s: float) -> UnixSubscription:
    """Join the bus at `path`; a source that has not begun to listen yet is waited for.

    Raises:
        PeerError: nobody listens there within `timeout_s`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    loop = asyncio.get_running_loop()
                    transport, receiver = await loop.create_unix_connection(EnvelopeReceiver, str(path))
                    return UnixSubscription(transport, receiver)
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(_CONNECT_RETRY_S)
    except TimeoutError:
        raise PeerError(f"no frame source on the bus {path} after {timeout_s:g} s") from None


async def _read_envelopes(reader: asyncio.StreamReader) -> AsyncIterator[Envelope]:
    """Envelopes until the other side leaves, be it in the midst of one."""
    while True:
        try:
            header = await reader.readexactly(ENVELOPE.size)
            length, kind, gateway, client = Envelope.unpack_header(header)
            payload = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        yield Envelope(kind, payload, gateway, client)


BUFFER_BYTES: Final = 64 * 1024
"""Envelopes that fit are read together; a payload that does not is received into memory of its own."""


class EnvelopeReceiver(asyncio.BufferedProtocol):
    """Takes envelopes off a connection, in order.

    A StreamReader would do, but copies all bytes three times and stops the transport whenever 128 KB wait: a third
    of a gateway's work with states of 280 KB.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(BUFFER_BYTES)
        self._filled = 0
        self._large: memoryview | None = None
        self._large_filled = 0
        self._after_large = False
        self._large_header: tuple[Kind, int, int] = (Kind.GRAPH, 0, 0)
        self._arrived: deque[Envelope] = deque()
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._failure: ProtocolError | None = None
        self._transport: asyncio.BaseTransport | None = None

    async def next(self) -> Envelope | None:
        """The next envelope; None once the other side has left, be it in the midst of one.

        Raises:
            ProtocolError: what has come is not an envelope.
        """
        while not self._arrived:
            if self._failure:
                raise self._failure
            if self._ended.is_set():
                return None
            self._news.clear()
            await self._news.wait()
        return self._arrived.popleft()

    async def closed(self) -> None:
        """Until the connection has ended."""
        await self._ended.wait()

    # -- asyncio.BufferedProtocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember what to close."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """No more will come."""
        self._ended.set()
        self._news.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        if self._large is not None:
            return self._large[self._large_filled :]
        if self._after_large and self._filled < ENVELOPE.size:  # likely another one, which would be copied from here
            return memoryview(self._buffer)[self._filled : ENVELOPE.size]
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many have come."""
        if self._large is not None:
            self._large_filled += nbytes
            if self._large_filled == len(self._large):
                kind, gateway, client = self._large_header
                self._arrived.append(Envelope(kind, self._large, gateway, client))
                self._large = None
                self._after_large = True
                self._news.set()
            return
        self._filled += nbytes
        try:
            self._take_whole_ones()
        except ProtocolError as error:
            self._failure = error
            if self._transport is not None:
                self._transport.close()
        self._news.set()

    def _take_whole_ones(self) -> None:
        buffer, at = self._buffer, 0
        while self._filled - at >= ENVELOPE.size:
            start = at + ENVELOPE.size
            length, kind, gateway, client = Envelope.unpack_header(memoryview(buffer)[at:start])
            end = start + length
            if end <= self._filled:
                self._arrived.append(Envelope(kind, bytes(memoryview(buffer)[start:end]), gateway, client))
                self._after_large = False
                at = end
            elif length > BUFFER_BYTES - ENVELOPE.size:
                self._large = np.empty(length, np.uint8).data  # not zeroed first, as a bytearray is
                self._large_filled = self._filled - start
                self._large[: self._large_filled] = memoryview(buffer)[start : self._filled]
                self._large_header = kind, gateway, client
                self._filled = 0
                return
            else:
                break
        if at:
            left = bytes(memoryview(buffer)[at : self._filled])
            buffer[: len(left)] = left
            self._filled = len(left)
