"""The client library: messages of a V4 server, across reconnects.

    async with connect("ws://localhost:8080/ws", timed=True) as connection:
        async for message in connection:
            ...

A message is received when it is read. A connection that is not iterated stops, and the server treats it as slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import aiohttp

from vfctl.client.handshake import Link, OpenError, one_line, open_link
from vfctl.client.lifecycle import CLEAN_CLOSES, Action, LifeCycle, StartTimer, State, is_retryable
from vfctl.client.url import shown, with_options
from vfctl.errors import PeerError, ProtocolError
from vfctl.protocol import (
    Filter,
    FilterUpdate,
    Heartbeat,
    Message,
    MessageType,
    NodeDrag,
    NodeSelect,
    PositionDecoder,
    decode,
    encode,
)
from vfctl.protocol.wire import measure

HEARTBEAT_INTERVAL_S: Final = 30.0
OPEN_TIMEOUT_S: Final = 10.0

_NO_CLOSE_FRAME: Final = 1006
_NO_CODE: Final = 1005
_PROTOCOL_ERROR: Final = 1002
_DONE: Final = 1000


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The result of a heartbeat and its reply, computed as NTP does.

    Attributes:
        round_trip_us: from our heartbeat to its reply.
        offset_us: how far the server's clock is ahead of ours, if both directions take equally long. The error is at
            most half the round trip.
    """

    round_trip_us: int
    offset_us: int


class Connection:
    """A connection to a V4 server. `connect` makes it, `async with` opens it.

    Iterate over it for messages, or over `payloads` for their bytes. It reconnects as `vfctl.client.lifecycle` says; a
    FullGraph is the first message after each reconnect. A clean close ends the iteration.

    Attributes:
        url: the server, with options.
        last_arrival_ns: unix time in ns at which the newest message arrived; 0 before the first.
        round_trip: from the newest answered heartbeat; None before the first.
    """

    def __init__(
        self,
        url: str,
        filter: Filter | None,
        *,
        open_timeout_s: float,
        heartbeat_interval_s: float,
        jitter: Callable[[float], float] | None,
        on_change: Callable[[State, str], None] | None,
        clock: Clock,
    ) -> None:
        self.url = url
        self.last_arrival_ns = 0
        self.round_trip: RoundTrip | None = None
        self._filter = filter
        self._open_timeout_s = open_timeout_s
        self._heartbeat_interval_s = heartbeat_interval_s
        self._on_change = on_change
        self._clock = clock
        self._life = LifeCycle(jitter)
        self._link: Link | None = None
        self._heartbeats: asyncio.Task[None] | None = None
        self._heartbeat_us: int | None = None  # of the heartbeat whose reply is missing
        self._open_at_s: float | None = None  # when the backoff ends, while there is one
        self._reason = ""  # why the connection was last lost or not opened
        self._hint: str | None = None
        self._ended_cleanly = False
        self._reading = False
        self._positions = PositionDecoder()

    @property
    def state(self) -> State:
        """The state of the life cycle."""
        return self._life.state

    @property
    def reconnects(self) -> int:
        """How often the connection was lost and opened again."""
        return self._life.reconnects

    @property
    def retry(self) -> tuple[int, float | None]:
        """Number of retries in a row, the one that waits included; and seconds until it, or None if none waits."""
        at_s = self._open_at_s
        return self._life.retries, None if at_s is None else max(0.0, at_s - self._clock.monotonic_s())

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            PeerError: the first attempt failed. It is not retried.
        """
        self._life.connect()
        self._changed()
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        if self._life.state is State.DISCONNECTED:
            raise self._failure()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close(_PROTOCOL_ERROR if isinstance(error, ProtocolError) else _DONE)

    async def close(self, code: int = _DONE) -> None:
        """Close the connection for good, from any state. An iteration that is waiting ends cleanly, after its backoff
        at the latest."""
        if self._life.disconnect() is not None:
            self._ended_cleanly = True
            self._reason = "closed by the client"
            self._changed()
        await self._drop_link(code)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next message. Updates have positions, whatever the encoding. (With `encoding=compact` read either
        messages or payloads, because an update needs the states before it.)

        Raises:
            PeerError: the connection ended in failure.
            ProtocolError: the frame is no V4 message. The connection has been closed with 1002.
        """
        payload = await self._receive()
        if payload is None:
            raise StopAsyncIteration
        try:
            return self._positions.decode(decode(payload))
        except ProtocolError:
            await self.close(_PROTOCOL_ERROR)
            raise

    async def payloads(self) -> AsyncIterator[tuple[bytes, int]]:
        """Yield messages exactly as received: (bytes, unix time of arrival in ns). Only header and length are checked.

        Raises:
            PeerError, ProtocolError: as for messages.
        """
        while (payload := await self._receive()) is not None:
            yield payload, self.last_arrival_ns

    async def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            PeerError: there is no connection at this moment.
            ValueError: a field of the message is out of range.
        """
        payload = encode(message)
        if self._link is None:
            raise PeerError(f"{shown(self.url)}: cannot send while {self._life.state.value.lower()}")
        try:
            await self._link.socket.send_bytes(payload)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise PeerError(f"{shown(self.url)}: lost while sending ({error})") from error

    async def select(self, node_id: int | None) -> None:
        """Select a node; None clears the selection. Raises as `send`."""
        await self.send(NodeSelect(node_id))

    async def drag(self, node_id: int, x: float, y: float, z: float, *, final: bool = False) -> None:
        """Hold a node at a position; `final` releases it. Raises as `send`."""
        await self.send(NodeDrag(node_id, x, y, z, final))

    async def set_filter(self, filter: Filter) -> None:
        """Receive only nodes that match the filter, from now on and after every reconnect.

        Without a connection the filter is sent as soon as there is one.
        """
        self._filter = filter
        if self._link is not None:
            with contextlib.suppress(PeerError):  # the iteration notices the loss, and reconnects
                await self.send(FilterUpdate(filter))

    async def heartbeat(self) -> None:
        """Send a heartbeat now. When its reply is read, `round_trip` is updated. Raises as `send`."""
        self._heartbeat_us = self._clock.unix_ns() // 1000
        await self.send(Heartbeat(self._heartbeat_us))

    async def _receive(self) -> bytes | None:
        """The next payload, or None once the connection has ended cleanly."""
        while self._life.state is not State.DISCONNECTED:
            if self._link is None:
                await self._open()
                continue
            self._reading = True
            try:
                incoming = await self._link.socket.receive()
            finally:
                self._reading = False
            match incoming.type:
                case aiohttp.WSMsgType.BINARY:
                    return await self._process(incoming.data)
                case aiohttp.WSMsgType.CLOSE:
                    # aiohttp reports 0 for a close frame without a code.
                    await self._lost(incoming.data or _NO_CODE, incoming.extra or "")
                case aiohttp.WSMsgType.TEXT:
                    await self._refuse("a text frame, expected binary ones")
                case aiohttp.WSMsgType.ERROR if isinstance(incoming.data, aiohttp.WebSocketError):
                    await self._refuse(f"not a WebSocket frame ({incoming.data})")
                case _:
                    # There was no close frame. (aiohttp's close_code is 1000 then, so it cannot be used.)
                    await self._lost(_NO_CLOSE_FRAME)
        if not self._ended_cleanly:
            raise self._failure()
        return None

    async def _process(self, payload: bytes) -> bytes:
        """Check a message, answer heartbeats, and update the life cycle."""
        self.last_arrival_ns = self._clock.unix_ns()
        try:
            needed, whole = measure(payload)
            type_id = payload[1] if len(payload) > 1 else 0
            if not whole or needed != len(payload) or type_id == MessageType.HEARTBEAT:
                await self._answer(decode(payload))
        except ProtocolError:
            await self.close(_PROTOCOL_ERROR)
            raise
        if not self._life.proven:
            self._life.observe(type_id)
        return payload

    async def _answer(self, message: Message) -> None:
        if not isinstance(message, Heartbeat):
            return
        now_us = self.last_arrival_ns // 1000
        if message.responder_timestamp_us is None:
            with contextlib.suppress(PeerError):
                await self.send(Heartbeat(message.timestamp_us, now_us))
        elif message.timestamp_us == self._heartbeat_us:
            self._heartbeat_us = None
            middle_us = (message.timestamp_us + now_us) // 2
            self.round_trip = RoundTrip(now_us - message.timestamp_us, message.responder_timestamp_us - middle_us)

    async def _refuse(self, what: str) -> None:
        await self.close(_PROTOCOL_ERROR)
        raise ProtocolError(what, offset=0)

    async def _open(self) -> None:
        """Wait for the backoff, if there is one, and try once. May be cancelled at any point, and called again."""
        if self._open_at_s is not None:
            await self._clock.sleep(max(0.0, self._open_at_s - self._clock.monotonic_s()))
            self._open_at_s = None
            self._life.backoff_elapsed()
            self._changed()
        if self._life.state is not State.CONNECTING:  # closed in the meantime
            return
        try:
            link = await open_link(self.url, self._open_timeout_s)
        except OpenError as error:
            self._hint = error.hint
            self._follow(self._life.open_failed(), error.reason)
            return
        if self._life.opened(self._clock.monotonic_s()) is not None:
            await link.close(_DONE)
            return
        self._link = link
        self._reason, self._hint = "", None
        self._changed()
        if self._filter is not None and not self._filter.is_everything:
            await self.set_filter(self._filter)
        self._heartbeats = asyncio.create_task(self._send_heartbeats(link))

    async def _lost(self, code: int, said: str = "") -> None:
        """Apply the life cycle to the loss of the link."""
        if self._life.state is not State.CONNECTED:  # our own close
            return
        reason = "lost without a close frame" if code == _NO_CLOSE_FRAME else f"closed by the server with {code}"
        self._ended_cleanly = code in CLEAN_CLOSES
        action = self._life.closed(code, self._clock.monotonic_s())
        self._follow(action, f"{reason} ({one_line(said)})" if said else reason, retryable=is_retryable(code))
        await self._drop_link(_DONE if code in (_NO_CODE, _NO_CLOSE_FRAME) else code)  # RFC 6455, 5.5.1: echoed

    def _follow(self, action: Action | None, reason: str, *, retryable: bool = True) -> None:
        """Record why the connection is gone, and apply the action of the life cycle."""
        self._open_at_s = None
        if isinstance(action, StartTimer):
            self._open_at_s = self._clock.monotonic_s() + action.delay_s
        elif retryable and self._life.retries:
            reason = f"gave up after {self._life.retries} retries in a row; the last: {reason}"
        self._reason = reason
        self._changed()

    async def _drop_link(self, code: int) -> None:
        link, self._link = self._link, None
        heartbeats, self._heartbeats = self._heartbeats, None
        self._heartbeat_us = None
        try:
            if heartbeats is not None:
                heartbeats.cancel()
                await asyncio.wait([heartbeats])
        finally:
            if link is not None:
                await link.close(code)

    async def _send_heartbeats(self, link: Link) -> None:
        """Send one every interval. If nothing came since the last one, the peer is dead: abort the link.

        The link stays if nobody reads, because what the peer sent waits in a buffer.
        """
        heard_ns: int | None = None
        while True:
            await self._clock.sleep(self._heartbeat_interval_s)
            if self._reading and heard_ns == self.last_arrival_ns:
                await link.abort()
                return
            heard_ns = self.last_arrival_ns
            try:
                await self.heartbeat()
            except PeerError:
                return

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change(self._life.state, self._reason)

    def _failure(self) -> PeerError:
        return PeerError(f"{shown(self.url)}: {self._reason}", hint=self._hint)


def connect(
    url: str,
    *,
    encoding: str | None = None,
    timed: bool = False,
    metadata: bool = False,
    voice: bool = False,
    notices: bool = False,
    filter: Filter | None = None,
    open_timeout_s: float = OPEN_TIMEOUT_S,
    heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
    jitter: Callable[[float], float] | None = None,
    on_change: Callable[[State, str], None] | None = None,
    clock: Clock | None = None,
) -> Connection:
    """Make a connection. `async with` opens it.

    Args:
        url: of the server. The options are added to it, see `vfctl.client.url.with_options`.
        filter: which nodes to receive; sent after each (re)connect.
        open_timeout_s: of each attempt.
        heartbeat_interval_s: time between heartbeats. A peer that is silent for two of them is dead.
        jitter: changes each backoff delay in seconds; None keeps it.
        on_change: called with each new state and the reason.
        clock: replaces the system clock in tests.

    Raises:
        UsageError: the URL or the encoding is invalid.
    """
    full = with_options(url, encoding=encoding, timed=timed, metadata=metadata, voice=voice, notices=notices)
    return Connection(
        full,
        filter,
        open_timeout_s=open_timeout_s,
        heartbeat_interval_s=heartbeat_interval_s,
        jitter=jitter,
        on_change=on_change,
        clock=clock or SystemClock(),
    )


class Clock(Protocol):
    """The time for a connection. Tests use another one, so that they need not wait."""

    def monotonic_s(self) -> float:
        """Monotonic time in seconds, for intervals."""

    def unix_ns(self) -> int:
        """Unix time in ns, for time stamps."""

    async def sleep(self, delay_s: float) -> None:
        """Wait for `delay_s` seconds."""


class SystemClock:
    """The clock of the machine."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def unix_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
