"""`vfctl watch`."""

from __future__ import annotations

import asyncio
import time
from typing import Final
from urllib.parse import urlsplit

from vfctl.cli.options import DurationOption, UrlArgument
from vfctl.cli.signals import stop_on_signals
from vfctl.client import Connection, connect
from vfctl.client.lifecycle import State
from vfctl.client.url import encoding_of, shown
from vfctl.errors import PeerError
from vfctl.protocol import PositionDecoder, decode
from vfctl.terminal.live_display import read_keys, split_keys
from vfctl.terminal.output import log_line, stderr_console
from vfctl.terminal.watch_display import ConnectionStatus, WatchDisplay, last_line
from vfctl.terminal.watch_metrics import WatchMetrics
from vfctl.terminal.watch_scene import WatchedScene

POLL_S: Final = 0.05
"""Interval of checks whether to redraw."""
HEARTBEAT_S: Final = 5.0
"""They measure the clock offset between two machines."""


def command(url: UrlArgument, duration: DurationOption = None) -> None:
    """Show live what a server sends to one client: frames, latency, connection state, and the graph.

    On a terminal, the graph is drawn in braille dots. Arrows rotate it, space stops the rotation, q quits. Without a
    terminal, vfctl prints a line every five seconds. ?encoding=lz4 or compact in the URL is watched as well.

    Examples:
        vfctl watch ws://127.0.0.1:8765/ws
        vfctl watch 'ws://127.0.0.1:8765/ws?encoding=compact' --duration 10s
    """
    asyncio.run(_watch(url, duration))


async def _watch(url: str, duration_s: float | None) -> None:
    began_s = time.monotonic()
    metrics, scene, reason = WatchMetrics(began_s), WatchedScene(), _Reason()
    display = WatchDisplay(stderr_console(), metrics, scene)
    with stderr_console().status(f"connecting to {url}") as connecting:
        async with connect(
            url, timed=True, metadata=True, notices=True, heartbeat_interval_s=HEARTBEAT_S, on_change=reason.changed
        ) as connection:
            connecting.stop()
            stop = stop_on_signals()

            def on_key(typed: bytes) -> None:
                for key in split_keys(typed):
                    if key in (b"q", b"Q"):
                        stop.set()
                    scene.on_key(key)

            with display, read_keys(on_key) as display.has_keys:
                receiving = asyncio.create_task(_receive(connection, metrics, scene if display.is_drawn else None))
                tasks = {
                    receiving,
                    asyncio.create_task(_show(connection, reason, display)),
                    asyncio.create_task(stop.wait()),
                }
                ended, pending = await asyncio.wait(tasks, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
                await asyncio.wait(tasks)
            log_line(last_line(metrics, time.monotonic() - began_s))
            for task in ended:
                task.result()
            if not ended and connection.state is not State.CONNECTED:
                raise PeerError(f"{url} is gone: {reason.text}" if reason.text else f"{url} is gone")
    if receiving in ended:
        log_line("the server has closed the connection")


class _Reason:
    """Why the connection was last lost or not opened."""

    def __init__(self) -> None:
        self.text = ""

    def changed(self, _: object, why: str) -> None:
        self.text = why


async def _receive(connection: Connection, metrics: WatchMetrics, scene: WatchedScene | None) -> None:
    """Receive messages until the connection ends. Positions are decoded only if the graph is drawn."""
    positions = PositionDecoder()
    reconnects = 0
    async for payload, arrival_ns in connection.payloads():
        message = decode(payload)
        metrics.record(
            message,
            len(payload),
            now_s=time.monotonic(),
            arrival_us=arrival_ns // 1000,
            offset_us=_clock_offset_us(connection),
        )
        if scene is not None:
            if connection.reconnects != reconnects:
                reconnects = connection.reconnects
                scene.reconnected()
            scene.on_message(positions.decode(message))


def _clock_offset_us(connection: Connection) -> int:
    """How far the server's clock is ahead of ours; 0 within the error of the measurement, as on the same machine."""
    trip = connection.round_trip
    return trip.offset_us if trip is not None and abs(trip.offset_us) > trip.round_trip_us / 2 else 0


async def _show(connection: Connection, reason: _Reason, display: WatchDisplay) -> None:
    while True:
        display.show(_status_of(connection, reason.text), time.monotonic())
        await asyncio.sleep(POLL_S)


def _status_of(connection: Connection, reason: str) -> ConnectionStatus:
    parts = urlsplit(shown(connection.url))
    retries, retry_in_s = connection.retry
    return ConnectionStatus(
        url=f"{parts.scheme}://{parts.netloc}{parts.path}",
        encoding=encoding_of(connection.url),
        state=connection.state.value,
        reason=reason,
        retries=retries,
        retry_in_s=retry_in_s,
        reconnects=connection.reconnects,
    )
