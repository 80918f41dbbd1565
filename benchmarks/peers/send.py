"""Bare Python servers to compare with: `python send.py aiohttp|websockets PORT FRAME_FILE RATE`, on uvloop.

Each sends every connection the message in the file, its trailer stamped anew at each of 60 ticks a second, RATE times
a second. Connections take turns, spread over the ticks. Prints its pid once it listens; ends with its stdin.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

TICKS_PER_S = 60
TRAILER = struct.Struct("<QQI")


class Slots:
    """Connections in slots, a slot a tick."""

    def __init__(self, message: bytes, rate: float) -> None:
        self.body = message[: -TRAILER.size]
        self.interval_us = round(1e6 / rate)
        self.slots: list[dict[Any, None]] = [{} for _ in range(round(TICKS_PER_S / rate))]
        self.joined = 0

    def join(self, connection: Any) -> dict[Any, None]:
        """The slot that the connection has come into, for it to leave."""
        slot = self.slots[self.joined % len(self.slots)]
        self.joined += 1
        slot[connection] = None
        return slot

    async def run(self, send: Callable[[dict[Any, None], bytes], Any]) -> None:
        """`send(slot, message)` at every tick, for ever."""
        loop = asyncio.get_running_loop()
        next_tick = loop.time()
        tick = 0
        while True:
            stamp = TRAILER.pack(tick // len(self.slots), time.time_ns() // 1000, self.interval_us)
            await send(self.slots[tick % len(self.slots)], self.body + stamp)
            tick += 1
            next_tick = max(next_tick + 1 / TICKS_PER_S, loop.time())
            await asyncio.sleep(next_tick - loop.time())


async def serve_aiohttp(port: int, slots: Slots) -> None:
    from aiohttp import web

    async def websocket(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        slot = slots.join(socket)
        try:
            async for _ in socket:
                pass
        finally:
            slot.pop(socket, None)
        return socket

    async def send(slot: dict[web.WebSocketResponse, None], message: bytes) -> None:
        for socket in list(slot):
            await socket.send_bytes(message)

    app = web.Application()
    app.router.add_get("/ws", websocket)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    print(os.getpid(), flush=True)
    await slots.run(send)


async def serve_websockets(port: int, slots: Slots) -> None:
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    async def handle(connection: ServerConnection) -> None:
        slot = slots.join(connection)
        try:
            await connection.wait_closed()
        finally:
            slot.pop(connection, None)

    async def send(slot: dict[ServerConnection, None], message: bytes) -> None:
        broadcast(slot, message)

    async with serve(handle, "127.0.0.1", port, compression=None, ping_interval=None, backlog=4096, open_timeout=60):
        print(os.getpid(), flush=True)
        await slots.run(send)


async def main(library: str, port: int, slots: Slots) -> None:
    serve = {"aiohttp": serve_aiohttp, "websockets": serve_websockets}[library]
    serving = asyncio.create_task(serve(port, slots))
    reading = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait({serving, reading}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    os._exit(0)  # thousands of orderly goodbyes are not asked for


if __name__ == "__main__":
    library, port, frame_file, rate = sys.argv[1:]
    uvloop.run(main(library, int(port), Slots(Path(frame_file).read_bytes(), float(rate))))
