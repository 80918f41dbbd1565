"""When a gateway looks for reference cycles: by the connections that have ended, not by Python's count of allocations.

A full collection looks at every object there is. In a gateway of 17,000 connections that takes some 100 ms, in which
nobody is served, and Python starts one every few seconds though nothing has ended.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

from vfctl.server.gateway.gateway import Gateway

COLLECT_EVERY: Final = 5_000
"""Connections that have ended between two full collections: aiohttp leaves some cycles for each, 50 KB at most."""

LOOK_S: Final = 1.0

THRESHOLDS: Final = (10_000, 50, 1_000_000)
"""Young objects are looked at as before, if less often; old ones practically never."""


async def collect_forever(gateway: Gateway) -> None:
    """Take over from Python's own count, until cancelled."""
    gc.set_threshold(*THRESHOLDS)
    collected_at = 0
    while True:
        await asyncio.sleep(LOOK_S)
        ended = gateway.clients.traffic.connections - len(gateway.clients)
        if ended - collected_at >= COLLECT_EVERY:
            collected_at = ended
            gc.collect()
