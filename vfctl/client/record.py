"""Recording a live stream: every message exactly as it came, across reconnects."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vfctl.capture.captured import type_name
from vfctl.capture.writer import CaptureWriter, check_target, open_writer
from vfctl.client.connection import Connection, connect
from vfctl.client.url import shown
from vfctl.errors import VfctlError


@dataclass(slots=True)
class RecordSummary:
    """What a recording holds (so far).

    Attributes:
        url: what was recorded, options included.
        messages: how many.
        bytes: their payload bytes.
        duration_s: since the connection was open.
        by_type: messages per type name.
        reconnects: how often the connection was lost and opened again; what was sent in between is missing.
        ended_by_server: the server closed the stream cleanly, before the duration or a stop ended it.
    """

    url: str
    messages: int = 0
    bytes: int = 0
    duration_s: float = 0.0
    by_type: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0
    ended_by_server: bool = False


async def record(
    url: str,
    out_path: Path,
    *,
    duration_s: float | None = None,
    stop: asyncio.Event,
    on_progress: Callable[[RecordSummary], None] | None = None,
    overwrite: bool = False,
) -> RecordSummary:
    """Record until the duration is over, `stop` is set or the server ends the stream.

    Asks for raw, timed, metadata, voice and notices, where the URL does not say otherwise.

    Args:
        on_progress: told the summary so far after each message.
        overwrite: whether `out_path` may be replaced.

    Raises:
        PeerError: the server cannot be reached, or is lost for good.
        ProtocolError: it sends what is not V4.
        InputError: `out_path` exists or cannot be written.
        UsageError: no recording format has the suffix of `out_path`, or the URL cannot be.
        Whatever had been recorded by then is in `out_path`, whole.
    """
    check_target(out_path, overwrite=overwrite)
    connection = connect(url, encoding="raw", timed=True, metadata=True, voice=True, notices=True)
    async with connection:
        summary = RecordSummary(shown(connection.url))
        # Opened only now, so that a server that is not there leaves no empty file.
        with open_writer(out_path, metadata={"url": summary.url}, overwrite=overwrite) as writer:
            try:
                await _pump(connection, writer, summary, duration_s, stop, on_progress)
            except VfctlError as error:
                if not summary.messages:
                    _discard(out_path)
                    raise
                error.hint = error.hint or f"{out_path} keeps the {summary.messages} messages that came before"
                raise
    return summary


def _discard(path: Path) -> None:
    """A recording without a message would only stand in the way of the next attempt."""
    path.unlink(missing_ok=True)


async def _pump(
    connection: Connection,
    writer: CaptureWriter,
    summary: RecordSummary,
    duration_s: float | None,
    stop: asyncio.Event,
    on_progress: Callable[[RecordSummary], None] | None,
) -> None:
    started_s = time.monotonic()

    async def write_all() -> None:
        async for payload, arrival_ns in connection.payloads():
            writer.write(payload, arrival_ns)
            summary.messages += 1
            summary.bytes += len(payload)
            summary.by_type[type_name(payload)] += 1
            summary.duration_s = time.monotonic() - started_s
            summary.reconnects = connection.reconnects
            if on_progress is not None:
                on_progress(summary)

    writing = asyncio.create_task(write_all())
    stopping = asyncio.create_task(stop.wait())
    tasks = (writing, stopping)
    try:
        await asyncio.wait(tasks, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        summary.duration_s = time.monotonic() - started_s
        summary.reconnects = connection.reconnects
    if not writing.cancelled():
        await writing
        summary.ended_by_server = True
