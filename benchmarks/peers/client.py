"""Bare Python clients to compare with: `python client.py aiohttp|picows URL CLIENTS`, on uvloop, until interrupted.

They do what a load generator must: take each frame whole, read the stamp in its trailer, and count the time since in a
histogram. Their arrival time is that of user space.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time

import uvloop

TRAILER = struct.Struct("<QQI")
POSITION_UPDATE = 2
BUCKET_US = 10
BUCKETS = 100_000
AT_ONCE = 64
"""Handshakes under way."""

histogram = [0] * BUCKETS


def note(payload: bytes | memoryview) -> None:
    """One message has come."""
    if payload[1] == POSITION_UPDATE:
        stamp_us = TRAILER.unpack_from(payload, len(payload) - TRAILER.size)[1]
        latency_us = time.time_ns() // 1000 - stamp_us
        histogram[min(max(latency_us, 0) // BUCKET_US, BUCKETS - 1)] += 1


async def run_aiohttp(url: str, clients: int) -> None:
    import aiohttp

    turnstile = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client() -> None:
            async with turnstile:
                socket = await session.ws_connect(url, compress=0, max_msg_size=0)
            async for message in socket:
                note(message.data)

        await asyncio.gather(*(client() for _ in range(clients)))


async def run_picows(url: str, clients: int) -> None:
    import picows

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            note(frame.get_payload_as_memoryview())

    turnstile = asyncio.Semaphore(AT_ONCE)

    async def client() -> None:
        async with turnstile:
            transport, _ = await picows.ws_connect(Listener, url)
        await transport.wait_disconnected()

    await asyncio.gather(*(client() for _ in range(clients)))


if __name__ == "__main__":
    library, url, clients = sys.argv[1:]
    uvloop.run({"aiohttp": run_aiohttp, "picows": run_picows}[library](url, int(clients)))
