"""Records a live stream: every message exactly as received, across reconnects."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vfctl.capture.formats.mcap import METADATA_NAME
from vfctl.capture.message import type_name
from vfctl.capture.recording.series import Rotation, SeriesWriter
from vfctl.capture.recording.writer import FLUSH_AGE_S
from vfctl.client.connection import Connection, connect
from vfctl.client.handshake import server_name
from vfctl.client.lifecycle import State
from vfctl.client.url import encoding_of, shown
from vfctl.errors import InputError, VfctlError

FLUSH_LOOK_S: Final = 0.25
"""Seconds between two checks whether messages have waited too long in memory."""

RECONNECT_NOTE: Final = "vfctl.reconnect"
"""Name of the metadata record that is written when a connection was opened again. It has `lost_at_ns`, `open_at_ns`
(unix time) and `reason`. Messages in between are missing."""


@dataclass(slots=True)
class RecordSummary:
    """What was recorded so far.

    Attributes:
        url: the server, with options.
        messages: number of messages.
        bytes: their payload bytes.
        duration_s: time since the connection was opened.
        by_type: messages per type name.
        reconnects: how often the connection was lost and opened again. Messages in between are missing.
        ended_by_server: the server closed the stream cleanly, before the duration or a stop ended it.
        full: the recording has reached its maximum size.
        files: the files that were written; several with rotation.
    """

    url: str
    messages: int = 0
    bytes: int = 0
    duration_s: float = 0.0
    by_type: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0
    ended_by_server: bool = False
    full: bool = False
    files: list[Path] = field(default_factory=list)


async def record(
    url: str,
    out_path: Path,
    *,
    duration_s: float | None = None,
    max_bytes: int | None = None,
    rotation: Rotation | None = None,
    stop: asyncio.Event,
    on_progress: Callable[[RecordSummary], None] | None = None,
    overwrite: bool = False,
) -> RecordSummary:
    """Record until the duration is over, the size is reached, `stop` is set or the server ends the stream.

    The options are raw, timed, metadata, voice and notices, unless the URL has others.

    Args:
        max_bytes: maximum size of all files together.
        rotation: when to start a new file.
        on_progress: called with the summary so far after each message.
        overwrite: whether `out_path`, or an earlier series of that name, may be replaced.

    Raises:
        PeerError: the server cannot be reached, or is lost for good.
        ProtocolError: it sends what is not V4.
        InputError: `out_path` exists or cannot be written.
        UsageError: no recording format has the suffix of `out_path`, or the URL is invalid.
        In every case `out_path` has all that was recorded before, and is whole.
    """
    changes = _Changes()
    connection = connect(
        url, encoding="raw", timed=True, metadata=True, voice=True, notices=True, on_change=changes.note
    )
    summary = RecordSummary(shown(connection.url))
    # The first message opens the file, so a missing server leaves no empty one.
    with SeriesWriter(out_path, metadata=_facts(summary.url), rotation=rotation, overwrite=overwrite) as writer:
        summary.files = writer.files
        async with connection:
            recording = _Recording(connection, writer, changes, summary, max_bytes, on_progress)
            try:
                await recording.run(duration_s, stop)
            except VfctlError as error:
                if summary.messages:
                    keep = "keep" if len(writer.files) > 1 else "keeps"
                    files = ", ".join(map(str, writer.files))
                    # Messages that did not fit on the disk were counted when they came. Only the file has the true
                    # count.
                    unsure = isinstance(error, InputError)
                    what = "what had been written" if unsure else f"the {summary.messages} messages that came"
                    error.hint = f"{files} {keep} {what} before"
                raise
    return summary


def _facts(url: str) -> dict[str, str]:
    return {"url": url, "encoding": encoding_of(url), "recorded_by": "client"}


class _Changes:
    """The changes of the connection, for the metadata in the file."""

    def __init__(self) -> None:
        self.reconnects: list[dict[str, str]] = []
        self._lost: tuple[int, str] | None = None

    def note(self, state: State, reason: str) -> None:
        now_ns = time.time_ns()
        if state is State.RECONNECTING and self._lost is None:
            self._lost = now_ns, reason
        elif state is State.CONNECTED and self._lost is not None:
            lost_ns, why = self._lost
            self._lost = None
            self.reconnects.append({"lost_at_ns": str(lost_ns), "open_at_ns": str(now_ns), "reason": why})

    def take(self) -> list[dict[str, str]]:
        """Return the reconnects since the last call."""
        news, self.reconnects = self.reconnects, []
        return news


class _Recording:
    def __init__(
        self,
        connection: Connection,
        writer: SeriesWriter,
        changes: _Changes,
        summary: RecordSummary,
        max_bytes: int | None,
        on_progress: Callable[[RecordSummary], None] | None,
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._changes = changes
        self._summary = summary
        self._max_bytes = max_bytes
        self._on_progress = on_progress
        self._started_s = time.monotonic()
        self._begun = asyncio.Event()

    async def run(self, duration_s: float | None, stop: asyncio.Event) -> None:
        """Wait until one of the tasks ends, and raise its error."""
        writing = asyncio.create_task(self._write_all())
        chores = [asyncio.create_task(self._flush_forever()), asyncio.create_task(self._ask_who())]
        stopping = asyncio.create_task(stop.wait())
        ends = (writing, chores[0], stopping)
        try:
            await asyncio.wait(ends, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*ends, *chores):
                task.cancel()
            await asyncio.wait((*ends, *chores))
            self._sum_up()
        for task in (writing, chores[0]):
            if not task.cancelled():
                await task
        if not writing.cancelled():
            self._summary.ended_by_server = not self._summary.full

    async def _write_all(self) -> None:
        summary = self._summary
        async for payload, arrival_ns in self._connection.payloads():
            for reconnect in self._changes.take():
                self._writer.note(RECONNECT_NOTE, reconnect)
            self._writer.write(payload, arrival_ns)
            self._begun.set()
            summary.messages += 1
            summary.bytes += len(payload)
            summary.by_type[type_name(payload)] += 1
            self._sum_up()
            if self._on_progress is not None:
                self._on_progress(summary)
            if self._max_bytes is not None and self._writer.size >= self._max_bytes:
                summary.full = True
                return

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_LOOK_S)
            self._writer.flush(older_than_s=FLUSH_AGE_S)

    async def _ask_who(self) -> None:
        name = await server_name(self._connection.url)
        if name is not None:
            await self._begun.wait()
            with contextlib.suppress(InputError):  # the next message raises it, too
                self._writer.note(METADATA_NAME, {"server": name})

    def _sum_up(self) -> None:
        self._summary.duration_s = time.monotonic() - self._started_s
        self._summary.reconnects = self._connection.reconnects
