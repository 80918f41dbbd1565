"""The recorder process: the server's own recording. It subscribes to the bus like a gateway, so clients never wait."""

from __future__ import annotations

import asyncio
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from vfctl import __version__
from vfctl.bus import TIMESTAMP, Envelope, Kind, UnixBusConnection, subscribe
from vfctl.capture.recording.series import Rotation, SeriesWriter
from vfctl.errors import InputError, PeerError, VfctlError
from vfctl.server.options import RecordTo, ServerOptions
from vfctl.server.process.child_main import Parent, Ready, run_process
from vfctl.server.process.recording_tap import RecordingTap, WriterThread
from vfctl.server.runtime import unix_time_us
from vfctl.server.scoreboard import RecordingMetrics, Scoreboard

BUS_TIMEOUT_S: Final = 30.0
PUBLISH_PERIOD_S: Final = 0.25
FINISH_TIMEOUT_S: Final = 3.0
"""Time to write what waits when the server stops."""


def run_recorder(options: ServerOptions, url: str, scoreboard: Scoreboard, bus_path: Path, pipe: Connection) -> None:
    """Entry point of the process.

    Args:
        options: of the server; `record` is set.
        url: of the server, for the recording's metadata.
        scoreboard: for the recording's metrics.
        bus_path: socket of the bus.
        pipe: to the parent.
    """
    run_process(lambda parent: _main(options, url, scoreboard.recording, bus_path, parent), pipe, "recorder")


async def _main(options: ServerOptions, url: str, metrics: RecordingMetrics, bus_path: Path, parent: Parent) -> None:
    assert options.record is not None
    stop = parent.stop_event()
    failed: asyncio.Future[VfctlError] = asyncio.get_running_loop().create_future()
    bus = await subscribe(bus_path, timeout_s=BUS_TIMEOUT_S)
    loop = asyncio.get_running_loop()

    def on_failure(error: VfctlError) -> None:
        loop.call_soon_threadsafe(failed.set_result, error)

    thread = WriterThread(lambda: _open(options.record, url), on_failure)
    active_us, stable_us = round(options.active_interval_ms * 1000), round(options.stable_interval_ms * 1000)
    tap = RecordingTap(active_us, stable_us)
    bus.send(Envelope(Kind.LISTEN, TIMESTAMP.pack(active_us)))
    metrics.began_us = unix_time_us()
    parent.report(Ready(f"recording to {options.record.file}"))
    following = asyncio.create_task(_follow(bus, tap, thread))
    publishing = asyncio.create_task(_publish_metrics_forever(metrics, tap, thread))
    ends: set[asyncio.Future[Any]] = {following, asyncio.create_task(stop.wait()), failed}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    publishing.cancel()
    if not following.done():
        following.cancel()
    await bus.close()
    whole = await loop.run_in_executor(None, thread.close, FINISH_TIMEOUT_S)
    _publish_metrics(metrics, tap, thread)
    if failed.done():
        raise failed.result()
    if following.done() and not following.cancelled():
        following.result()
    if not stop.is_set():
        raise PeerError("the source process has closed the bus")
    if not whole:
        raise InputError(f"{options.record.file}: the disk is too slow; the end of the recording is missing")


def _open(record: RecordTo | None, url: str) -> SeriesWriter:
    assert record is not None
    rotation = Rotation(record.rotate_bytes, record.rotate_s)
    metadata = {"url": url, "encoding": "raw", "server": f"vfctl {__version__}", "recorded_by": "server"}
    return SeriesWriter(Path(record.file), metadata=metadata, rotation=rotation if rotation != Rotation() else None)


async def _follow(bus: UnixBusConnection, tap: RecordingTap, thread: WriterThread) -> None:
    async for envelope in bus:
        item = tap.on_envelope(envelope, time.time_ns())
        if item is not None:
            thread.put(item)


async def _publish_metrics_forever(metrics: RecordingMetrics, tap: RecordingTap, thread: WriterThread) -> None:
    while True:
        _publish_metrics(metrics, tap, thread)
        await asyncio.sleep(PUBLISH_PERIOD_S)


def _publish_metrics(metrics: RecordingMetrics, tap: RecordingTap, thread: WriterThread) -> None:
    metrics.messages, metrics.bytes = thread.written, thread.written_bytes
    metrics.dropped, metrics.files = thread.dropped + tap.lost, thread.files
