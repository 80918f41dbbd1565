"""The process of a server's own recording. It hangs on the bus like a gateway, so that clients never notice it."""

from __future__ import annotations

import asyncio
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from vfctl import __version__
from vfctl.bus import TIMESTAMP, Envelope, Kind, UnixBusConnection, subscribe
from vfctl.capture.recording.rotation import Rotation
from vfctl.capture.recording.series import SeriesWriter
from vfctl.errors import InputError, PeerError, VfctlError
from vfctl.server.clocks import unix_time_us
from vfctl.server.options import RecordTo, ServerOptions
from vfctl.server.process.child_main import Parent, Ready, run_process
from vfctl.server.process.recording_tap import Taker, WriterThread
from vfctl.server.process.scoreboard import RecordingFigures, Scoreboard

BUS_TIMEOUT_S: Final = 30.0
POST_S: Final = 0.25
FINISH_S: Final = 3.0
"""How long the disk has to take what waits when the server stops."""


def run_recorder(options: ServerOptions, url: str, scoreboard: Scoreboard, bus_path: Path, pipe: Connection) -> None:
    """Entry point of the process."""
    run_process(lambda parent: _main(options, url, scoreboard.recording, bus_path, parent), pipe, "recorder")


async def _main(options: ServerOptions, url: str, figures: RecordingFigures, bus_path: Path, parent: Parent) -> None:
    assert options.record is not None
    ending = parent.gone()
    failed: asyncio.Future[VfctlError] = asyncio.get_running_loop().create_future()
    bus = await subscribe(bus_path, timeout_s=BUS_TIMEOUT_S)
    loop = asyncio.get_running_loop()

    def on_failure(error: VfctlError) -> None:
        loop.call_soon_threadsafe(failed.set_result, error)

    thread = WriterThread(lambda: _open(options.record, url), on_failure)
    active_us, stable_us = round(options.active_interval_ms * 1000), round(options.stable_interval_ms * 1000)
    taker = Taker(active_us, stable_us)
    bus.send(Envelope(Kind.LISTEN, TIMESTAMP.pack(active_us)))
    figures.began_us = unix_time_us()
    parent.report(Ready(f"recording to {options.record.file}"))
    following = asyncio.create_task(_follow(bus, taker, thread))
    posting = asyncio.create_task(_post_forever(figures, taker, thread))
    ends: set[asyncio.Future[Any]] = {following, asyncio.create_task(ending.wait()), failed}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    posting.cancel()
    if not following.done():
        following.cancel()
    await bus.close()
    whole = await loop.run_in_executor(None, thread.close, FINISH_S)
    _post(figures, taker, thread)
    if failed.done():
        raise failed.result()
    if following.done() and not following.cancelled():
        following.result()
    if not ending.is_set():
        raise PeerError("the frame source has gone")
    if not whole:
        raise InputError(f"{options.record.file}: the disk takes nothing; the end of the recording is missing")


def _open(record: RecordTo | None, url: str) -> SeriesWriter:
    assert record is not None
    rotation = Rotation(record.rotate_bytes, record.rotate_s)
    metadata = {"url": url, "encoding": "raw", "server": f"vfctl {__version__}", "recorded_by": "server"}
    return SeriesWriter(Path(record.file), metadata=metadata, rotation=rotation if rotation != Rotation() else None)


async def _follow(bus: UnixBusConnection, taker: Taker, thread: WriterThread) -> None:
    async for envelope in bus:
        taken = taker.take(envelope, time.time_ns())
        if taken is not None:
            thread.put(taken)


async def _post_forever(figures: RecordingFigures, taker: Taker, thread: WriterThread) -> None:
    while True:
        _post(figures, taker, thread)
        await asyncio.sleep(POST_S)


def _post(figures: RecordingFigures, taker: Taker, thread: WriterThread) -> None:
    figures.messages, figures.bytes = thread.written, thread.written_bytes
    figures.dropped, figures.files = thread.dropped + taker.lost, thread.files
