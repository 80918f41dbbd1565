"""`vfctl watch`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from vfctl.cli.output import bytes_per_s, check_duration, people, say

if TYPE_CHECKING:
    from vfctl.client import Connection
    from vfctl.protocol import Message


def command(
    url: Annotated[str, typer.Argument(help="What to watch, for example ws://127.0.0.1:8765/ws.")],
    duration: Annotated[float | None, typer.Option(help="Seconds to watch; else until Ctrl-C.", metavar="S")] = None,
) -> None:
    """Show live what a server sends to one client: frames, latency, nodes, settled or moving."""
    import asyncio

    check_duration(duration)
    asyncio.run(_watch(url, duration))


class _Figures:
    """What is shown: counts since the start, and rates over the last second."""

    def __init__(self) -> None:
        from vfctl.metrics import LatencyHistogram

        self.messages = 0
        self.nodes = 0
        self.edges = 0
        self.settled = False
        self.interval_ms: float | None = None
        self.latency = LatencyHistogram()
        self.messages_per_s = 0.0
        self.bytes_per_s = 0.0
        self._since_s = time.monotonic()
        self._messages = 0
        self._bytes = 0

    def take(self, message: Message, size: int, arrival_ns: int) -> None:
        """One message has come."""
        import numpy as np

        from vfctl.protocol import CompactUpdate, FullGraph, PositionUpdate

        self.messages += 1
        self._messages += 1
        self._bytes += size
        if isinstance(message, FullGraph):
            self.nodes, self.edges = len(message.nodes), len(message.edges)
        if isinstance(message, PositionUpdate | CompactUpdate):
            self.settled = message.settled
            if message.trailer is not None:
                self.interval_ms = message.trailer.interval_us / 1000
                self.latency.record(np.array([arrival_ns // 1000 - message.trailer.timestamp_us], np.int64))

    def roll(self) -> None:
        """Work the rates out, about once a second."""
        elapsed_s = time.monotonic() - self._since_s
        if elapsed_s >= 1:
            self.messages_per_s, self.bytes_per_s = self._messages / elapsed_s, self._bytes / elapsed_s
            self._since_s, self._messages, self._bytes = time.monotonic(), 0, 0

    def line(self, state: str) -> str:
        """All of it in one line."""
        latency = self.latency.summary()
        delay = "–" if latency.p50 is None else f"p50 {latency.p50:.2f} ms, p95 {latency.p95:.2f} ms"
        interval = "?" if self.interval_ms is None else f"{self.interval_ms:g} ms"
        layout = "settled" if self.settled else "moving"
        return (
            f"{state} · {self.nodes:,} nodes, {self.edges:,} edges, {layout} · {self.messages_per_s:.1f} messages/s, "
            f"{bytes_per_s(self.bytes_per_s)} · every {interval} · latency {delay}"
        )


async def _watch(url: str, duration_s: float | None) -> None:
    import asyncio

    from vfctl.client import connect

    figures = _Figures()
    console = people()
    with console.status(f"connecting to {url}") as status:
        async with connect(url, timed=True, metadata=True, notices=True) as connection:
            on_terminal = console.is_terminal
            showing = asyncio.create_task(
                _show(connection, figures, status.update if on_terminal else say, 0.25 if on_terminal else 5.0)
            )
            try:
                async with asyncio.timeout(duration_s):
                    await _take_all(connection, figures)
                say("the server has closed the connection")
            except TimeoutError:
                pass
            finally:
                showing.cancel()
    figures.roll()
    say(figures.line("watched"))


async def _take_all(connection: Connection, figures: _Figures) -> None:
    from vfctl.protocol import decode

    async for payload, arrival_ns in connection.payloads():
        figures.take(decode(payload), len(payload), arrival_ns)


async def _show(connection: Connection, figures: _Figures, show: Callable[[str], None], period_s: float) -> None:
    import asyncio

    while True:
        await asyncio.sleep(period_s)
        figures.roll()
        show(figures.line(connection.state.value))
