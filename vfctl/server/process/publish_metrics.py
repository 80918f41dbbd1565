"""What a gateway writes on the scoreboard. Its plain counters stay plain: nothing is counted twice on the hot path."""

from __future__ import annotations

import asyncio
from typing import Final

from vfctl.server.clocks import unix_time_us
from vfctl.server.gateway.gateway import Gateway
from vfctl.server.process.scoreboard import COUNTERS

POST_PERIOD_S: Final = 0.25
"""Time between two posts: a display that is redrawn twice a second is never more than half a redraw behind."""


def post(gateway: Gateway) -> None:
    """Bring a gateway's slot up to date; the first time says that it serves."""
    slot, traffic, coordinator = gateway.places.slot, gateway.clients.traffic, gateway.coordinator
    for name in COUNTERS:
        setattr(slot, name, getattr(traffic, name))
    slot.interval_us = coordinator.interval_us
    slot.wanted_interval_us = coordinator.target_us
    slot.tick_write_us = gateway.last_tick_write_us
    slot.settled = gateway.scene.settled
    slot.posted_us = unix_time_us()
    slot.began_us = slot.began_us or slot.posted_us


async def post_forever(gateway: Gateway) -> None:
    """Post every now and then, until cancelled."""
    while True:
        post(gateway)
        await asyncio.sleep(POST_PERIOD_S)
