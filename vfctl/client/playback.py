"""Sends the messages that clients sent in a recording to a server, at the recorded times."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from vfctl.capture.message import type_name
from vfctl.capture.playback.client_traffic import ClientMessage, client_messages
from vfctl.capture.playback.replay_clock import check_changes
from vfctl.client.connection import Connection, connect
from vfctl.errors import PeerError, ProtocolError, UsageError, VfctlError
from vfctl.protocol import FilterUpdate, decode

MAX_CONNECTIONS: Final = 1000
"""Recorded connections beyond this number are left out. A load test plays any number."""

MAX_WAITING: Final = 1000
"""Messages that may wait for one connection when the server reads slowly. Beyond it new ones are not sent."""

AHEAD_S: Final = 1.0
"""Seconds before its first message at which a connection is opened."""

FINISH_S: Final = 5.0
"""Seconds that the last messages have to be sent."""


@dataclass(slots=True)
class PlaybackSummary:
    """What was sent so far.

    Attributes:
        connections: number of recorded connections that were played, each on a connection of its own.
        sent: number of messages.
        by_type: the same per type name.
        late: messages sent more than LATE_MS after their time.
        latest_ms: largest delay of a message.
        unsent: messages that were not sent, because there was no connection or too many of them.
        reconnects: connections lost and opened again.
        position_s: position in the recording.
        duration_s: duration so far.
        interrupted: it was stopped before the end of the recording.
    """

    LATE_MS: ClassVar[float] = 20.0

    connections: int = 0
    sent: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    late: int = 0
    latest_ms: float = 0.0
    unsent: int = 0
    reconnects: int = 0
    position_s: float = 0.0
    duration_s: float = 0.0
    interrupted: bool = False


async def play_to(
    url: str,
    paths: Sequence[str | Path],
    *,
    speed: float = 1.0,
    start_s: float = 0.0,
    stop: asyncio.Event,
    on_progress: Callable[[PlaybackSummary], None] | None = None,
) -> PlaybackSummary:
    """Send recorded selections, drags, filters and voice, each recorded connection on a connection of its own.

    Lost connections are opened again, with their filters.

    Args:
        paths: files of one recording, in order.
        speed: 2 is twice as fast as recorded.
        start_s: position in the recording to start at, in seconds.
        stop: ends it early.
        on_progress: called with the summary so far, several times a second.

    Raises:
        PeerError: the server cannot be reached.
        InputError: a file cannot be read, or has no messages of clients from `start_s` on.
        CaptureError: a file is no recording.
        UsageError: the speed or start is out of range.
    """
    check_changes({"speed": speed, "position_s": start_s})
    return await _Playback(url, speed, start_s, stop, on_progress).run(client_messages(paths))


class _Playback:
    def __init__(
        self,
        url: str,
        speed: float,
        start_s: float,
        stop: asyncio.Event,
        on_progress: Callable[[PlaybackSummary], None] | None,
    ) -> None:
        self._url = url
        self._speed = speed
        self._start_s = start_s
        self._stop = stop
        self._on_progress = on_progress
        self._players: dict[int, _Player] = {}
        self._summary = PlaybackSummary()

    async def run(self, messages: Iterator[ClientMessage]) -> PlaybackSummary:
        ahead: list[tuple[float, int, ClientMessage]] = []  # a heap: messages are a few ms out of order
        numbers = itertools.count()
        upcoming = next((each for each in messages if each.time_s >= self._start_s), None)
        if upcoming is None:
            raise UsageError(f"no client sends anything after {self._start_s:g} s of this recording")
        await self._player(upcoming.connection, first=True)
        origin_s = time.monotonic() + AHEAD_S / 2
        try:
            while (upcoming is not None or ahead) and not self._stop.is_set():
                now_s = time.monotonic()
                while upcoming is not None and self._due_s(upcoming, origin_s) <= now_s + AHEAD_S:
                    await self._player(upcoming.connection)
                    heapq.heappush(ahead, (self._due_s(upcoming, origin_s), next(numbers), upcoming))
                    upcoming = next(messages, None)
                while ahead and ahead[0][0] <= now_s:
                    due_s, _, message = heapq.heappop(ahead)
                    self._hand_over(message, due_s)
                self._tell()
                waits_s = ahead[0][0] - time.monotonic() if ahead else AHEAD_S / 2
                await self._sleep(min(waits_s, AHEAD_S / 4))
        finally:
            self._summary.interrupted = self._stop.is_set()
            self._summary.duration_s = time.monotonic() - origin_s
            await self._close()
        return self._summary

    def _due_s(self, message: ClientMessage, origin_s: float) -> float:
        return origin_s + (message.time_s - self._start_s) / self._speed

    def _hand_over(self, message: ClientMessage, due_s: float) -> None:
        self._summary.position_s = message.time_s
        player = self._players.get(message.connection)
        if player is None or not player.put(message.payload, due_s):
            self._summary.unsent += 1

    async def _player(self, number: int, *, first: bool = False) -> None:
        """Open a connection for a recorded one, if there is none yet."""
        if number in self._players or len(self._players) >= MAX_CONNECTIONS:
            return
        player = self._players[number] = _Player(self._url, self._summary)
        self._summary.connections += 1
        if first:
            await player.opened()

    async def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._summary)

    async def _close(self) -> None:
        if self._players:
            await asyncio.gather(*(player.close() for player in self._players.values()))
        self._tell()


class _Player:
    """One connection. It sends messages in order, and discards what it receives."""

    def __init__(self, url: str, summary: PlaybackSummary) -> None:
        self._connection = connect(url)
        self._summary = summary
        self._waiting: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue(MAX_WAITING)
        self._open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live())

    async def opened(self) -> None:
        """Wait until it is connected.

        Raises:
            PeerError: it cannot be opened.
        """
        await self._open

    def put(self, payload: bytes, due_s: float) -> bool:
        """Queue a message; False if the connection is gone or its queue is full."""
        if self._life.done() or self._waiting.full():
            return False
        self._waiting.put_nowait((payload, due_s))
        return True

    async def close(self) -> None:
        """Close after the queued messages have been sent, as far as the server reads them."""
        try:
            async with asyncio.timeout(FINISH_S):
                await self._waiting.join()
        except TimeoutError:
            pass  # messages that wait then are not sent
        self._summary.reconnects += self._connection.reconnects
        self._life.cancel()
        await asyncio.wait({self._life})

    async def _live(self) -> None:
        try:
            async with self._connection as connection:
                self._open.set_result(None)
                sending = asyncio.create_task(self._send_forever(connection))
                try:
                    async for _ in connection.payloads():
                        pass
                finally:
                    sending.cancel()
                    await asyncio.wait({sending})
        except VfctlError as error:
            if not self._open.done():
                self._open.set_exception(error)
                self._open.exception()  # if nobody waits for it, messages count as unsent
        finally:
            while not self._waiting.empty():
                self._waiting.get_nowait()
                self._waiting.task_done()
                self._summary.unsent += 1

    async def _send_forever(self, connection: Connection) -> None:
        while True:
            payload, due_s = await self._waiting.get()
            try:
                message = decode(payload)
                if isinstance(message, FilterUpdate):
                    await connection.set_filter(message.filter)
                else:
                    await connection.send(message)
            except (PeerError, ProtocolError):
                self._summary.unsent += 1
            else:
                self._count(payload, due_s)
            finally:
                self._waiting.task_done()

    def _count(self, payload: bytes, due_s: float) -> None:
        self._summary.sent += 1
        self._summary.by_type[type_name(payload)] += 1
        late_ms = (time.monotonic() - due_s) * 1e3
        self._summary.latest_ms = max(self._summary.latest_ms, late_ms)
        self._summary.late += late_ms > PlaybackSummary.LATE_MS
