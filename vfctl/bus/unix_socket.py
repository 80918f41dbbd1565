"""The bus of one machine: a UNIX socket on which the frame source listens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final, Self

import numpy as np

from vfctl.bus.envelope import ENVELOPE, EVERYBODY, TIMESTAMP, Envelope, Kind
from vfctl.errors import PeerError, ProtocolError
from vfctl.protocol.wire import MessageType

MAX_WAITING_EVENTS: Final = 1024
"""Events that may wait for one gateway. Beyond it the oldest are dropped. Frames never queue. Of selections the newest
of each client waits, however many clients there are, because a lost deselection would stay visible."""

MAX_WAITING_HEARD: Final = 65_536
"""Events that may wait for a recorder, which also gets the messages of clients."""

MAX_WAITING_VOICE: Final = 256
"""VoiceData that may wait for one gateway. Beyond it the oldest is dropped. It has a queue of its own, so that it
cannot displace a selection."""

MAX_WAITING_COMMAND_BYTES: Final = 2**20
"""Bytes of commands that may wait for a slow source. Beyond it new ones are dropped."""

LEAST_SEND_BUFFER_BYTES: Final = 128 * 1024
"""Smaller than Linux's default (net.core.wmem_default)."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long `BusServer.close` waits for a subscriber that has not read everything."""

_CONNECT_RETRY_S: Final = 0.02


class Subscriber:
    """A gateway that is connected to the source. Only the newest state waits for it, never a queue of states.

    Attributes:
        listens: it is a recorder, and also gets the messages of clients.
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
        """Record that `count` messages were lost before they came here."""
        self._lost += count
        self._something.set()

    def listen(self, pause_us: int) -> None:
        """Make it a recorder, which is written to at most once every `pause_us`."""
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
        """Enlarge the send buffer to `size`, because a large state that is sent in pieces wakes both ends for each
        piece."""
        if size > self._room:
            self._room = size
            sock = self._writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it is closed
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


class BusServer:
    """The end of the source: publishes states and events, receives commands.

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
        self._subscribers: set[Subscriber] = set()
        self._graph: Envelope | None = None
        self._frame: Envelope | None = None
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def subscribers(self) -> int:
        """Number of connected gateways and recorders."""
        return len(self._subscribers)

    async def start(self) -> None:
        """Start listening. Gateways that connect before the first graph wait for it."""
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def publish_graph(self, message: bytes) -> None:
        """Publish a FullGraph with METADATA and TIMED. From now on this graph is served."""
        self._graph, self._frame = Envelope(Kind.GRAPH, message), None
        self._put(self._graph)

    def publish_frame(self, message: bytes) -> None:
        """Publish the newest PositionUpdate, TIMED."""
        self._frame = Envelope(Kind.FRAME, message)
        self._put(self._frame)

    def confirm(self, timestamp_us: int) -> None:
        """Publish that the last frame is still valid at this unix time in µs."""
        self._put(Envelope(Kind.CONFIRM, TIMESTAMP.pack(timestamp_us)))

    def publish_event(self, envelope: Envelope) -> None:
        """Publish an EVENT."""
        self._put(envelope)

    async def close(self) -> None:
        """Stop listening and close all connections.

        The handlers end by themselves when their connections do. They are not cancelled, because asyncio would report
        that as an error.
        """
        if self._server:
            self._server.close()
        handlers = dict(self._writers)
        for writer in handlers.values():
            writer.close()
        if handlers:
            _, blocked = await asyncio.wait(handlers, timeout=CLOSE_TIMEOUT_S)
            for handler in blocked:
                handlers[handler].transport.abort()
            await asyncio.gather(*blocked, return_exceptions=True)

    def _put(self, envelope: Envelope) -> None:
        for subscriber in self._subscribers:
            subscriber.put(envelope)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._writers[task] = writer
        subscriber = Subscriber(writer)
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
        finally:
            self._subscribers.discard(subscriber)
            if subscriber.gateway is not None:
                self.on_command(Envelope(Kind.LEFT, b"", subscriber.gateway, EVERYBODY))
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sending
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            del self._writers[task]


class UnixBusConnection:
    """The end of a gateway; see `vfctl.bus.envelope.BusConnection`."""

    def __init__(self, transport: asyncio.Transport, receiver: EnvelopeReceiver) -> None:
        self._transport = transport
        self._receiver = receiver
        self._unheard = 0

    async def __aiter__(self) -> AsyncIterator[Envelope]:
        """Yield the envelopes of the source."""
        while (envelope := await self._receiver.next()) is not None:
            yield envelope

    def send(self, envelope: Envelope) -> None:
        """Send a command of a client, or a request, to the source. Dropped if the source is gone or too slow.

        Recorders are notified of dropped messages as soon as the source reads again. A LEFT is never dropped, because
        it is short, and without it a selection would stay visible.
        """
        transport = self._transport
        has_room = transport.get_write_buffer_size() < MAX_WAITING_COMMAND_BYTES or envelope.kind is Kind.LEFT
        if not transport.is_closing() and has_room:
            self._report_unheard()
            transport.write(envelope.pack())
        else:
            self._unheard += envelope.kind is Kind.HEARD

    def _report_unheard(self) -> None:
        if self._unheard:
            self._transport.write(Envelope(Kind.LOST, TIMESTAMP.pack(self._unheard)).pack())
            self._unheard = 0

    async def close(self) -> None:
        """Leave the bus."""
        if not self._transport.is_closing():
            self._report_unheard()
        self._transport.close()
        await self._receiver.closed()


async def subscribe(path: Path, *, timeout_s: float) -> UnixBusConnection:
    """Connect to the bus at `path`. Waits for a source that does not listen yet.

    Raises:
        PeerError: no source listens there within `timeout_s`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    loop = asyncio.get_running_loop()
                    transport, receiver = await loop.create_unix_connection(EnvelopeReceiver, str(path))
                    return UnixBusConnection(transport, receiver)
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(_CONNECT_RETRY_S)
    except TimeoutError:
        raise PeerError(f"no frame source on the bus {path} after {timeout_s:g} s") from None


async def _read_envelopes(reader: asyncio.StreamReader) -> AsyncIterator[Envelope]:
    """Yield envelopes until the other side disconnects, be it in the middle of one."""
    while True:
        try:
            header = await reader.readexactly(ENVELOPE.size)
            length, kind, gateway, client = Envelope.unpack_header(header)
            payload = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        yield Envelope(kind, payload, gateway, client)


BUFFER_BYTES: Final = 64 * 1024
"""Envelopes that fit are read together. A larger payload is received into memory of its own."""


class EnvelopeReceiver(asyncio.BufferedProtocol):
    """Receives envelopes from a connection, in order.

    asyncio's StreamReader copies all bytes three times and pauses the transport whenever 128 KB wait. With states of
    280 KB that was a third of the work of a gateway.
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
        """Return the next envelope, or None after the other side has disconnected, be it in the middle of one.

        Raises:
            ProtocolError: the bytes are not an envelope.
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
        """Wait until the connection has ended."""
        await self._ended.wait()

    # -- asyncio.BufferedProtocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the reader, because no more bytes will come."""
        self._ended.set()
        self._news.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory for the next bytes."""
        if self._large is not None:
            return self._large[self._large_filled :]
        if self._after_large and self._filled < ENVELOPE.size:  # the next is likely large, too
            return memoryview(self._buffer)[self._filled : ENVELOPE.size]
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Process `nbytes` that were received."""
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
            self._extract_envelopes()
        except ProtocolError as error:
            self._failure = error
            if self._transport is not None:
                self._transport.close()
        self._news.set()

    def _extract_envelopes(self) -> None:
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
