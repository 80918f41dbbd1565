"""The display of a replay, and the keys that control it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vfctl.cli.serve_display import ServeDisplay
from vfctl.errors import PeerError, UsageError
from vfctl.server.http.replay_api import ReplayClient
from vfctl.server.process.launch import Server
from vfctl.terminal.live_display import read_keys
from vfctl.terminal.output import log_line

SEEK_S: Final = 5.0
POLL_S: Final = 0.5
KEYS: Final = "space pauses, ← → 5 s, ↑ ↓ speed, 0 start"

_STEPS: Final = {b"\x1b[C": SEEK_S, b"\x1bOC": SEEK_S, b"\x1b[D": -SEEK_S, b"\x1bOD": -SEEK_S}
_FACTORS: Final = {b"\x1b[A": 2.0, b"\x1bOA": 2.0, b"\x1b[B": 0.5, b"\x1bOB": 0.5}


class ReplayDisplay(ServeDisplay):
    """The table of a server, and below it the position of the replay.

    Attributes:
        status: the last response of `GET /replay`; empty before the first.
        has_keys: whether keys are read.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.status: dict[str, Any] = {}
        self.has_keys = False

    def picture(self, table: Table) -> RenderableType:
        """The table, and the status line below it."""
        if not self.status:
            return table
        line = status_line(self.status) + (f"   {KEYS}" if self.has_keys else "")
        return Group(table, Text(line, no_wrap=True, overflow="ellipsis"))


async def steer(server: Server, display: ServeDisplay) -> None:
    """Update the status of the display and apply keys, until cancelled."""
    assert isinstance(display, ReplayDisplay)
    remote = ReplayClient(server.options.host, server.port)
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    with read_keys(typed.put_nowait) as display.has_keys:
        if not (display.has_keys or display.is_drawn):
            return
        while True:
            try:
                display.status = await asyncio.to_thread(remote.get)
                key = await asyncio.wait_for(typed.get(), POLL_S)
                changes = changes_for(key, display.status)
                if changes:
                    display.status = await asyncio.to_thread(remote.change, changes)
                    display.hurry()
            except TimeoutError:
                pass
            except PeerError:
                await asyncio.sleep(POLL_S)  # the gateway restarts
            except UsageError as error:
                log_line(error.message)


def changes_for(key: bytes, status: dict[str, Any]) -> dict[str, Any]:
    """The changes that a key makes; empty for other keys.

    Args:
        key: its bytes, as a terminal sends them.
        status: of the replay now.
    """
    position_s, duration_s = status["position_s"], status["duration_s"]
    if key == b" ":
        return {"paused": not status["paused"]}
    if key == b"0":
        return {"position_s": 0.0}
    if key in _STEPS:
        wanted_s = max(0.0, position_s + _STEPS[key])
        return {"position_s": wanted_s if duration_s is None else min(wanted_s, duration_s)}
    if key in _FACTORS:
        return {"speed": min(64.0, max(1 / 16, status["speed"] * _FACTORS[key]))}
    return {}


def status_line(status: dict[str, Any]) -> str:
    """The status line of a replay."""
    state = "paused" if status["paused"] else "ended" if status["ended"] else "playing"
    duration_s = status["duration_s"]
    of = f" of {clock(duration_s)}" if duration_s is not None else ""
    speed = f", {status['speed']:g} times as fast" if status["speed"] != 1 else ""
    return f"{state} {clock(status['position_s'])}{of}{speed}{', looping' if status['loop'] else ''}"


def clock(seconds: float) -> str:
    """`1:02:03.4`, without the hours where there are none."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{tenths / 10:04.1f}"
