"""The process of one gateway. It imports neither JAX nor networkx, because graph and labels come over the bus."""

from __future__ import annotations

import asyncio
import logging
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from vfctl.bus import subscribe
from vfctl.errors import PeerError
from vfctl.server.capacity import ClientLimit, client_capacity, raise_descriptor_limit
from vfctl.server.gateway.gateway import Gateway
from vfctl.server.gateway.protocol_wrappers import FirstRequestTimeout
from vfctl.server.http.endpoints import build_app
from vfctl.server.options import ServerOptions
from vfctl.server.process.child_main import Parent, Ready, run_process
from vfctl.server.process.port import BACKLOG, Port
from vfctl.server.runtime import collect_garbage_forever
from vfctl.server.scoreboard import Scoreboard

BUS_TIMEOUT_S: Final = 30.0

PUBLISH_PERIOD_S: Final = 0.25
"""Time between two updates of the scoreboard. A display that redraws twice a second lags half a redraw at most."""


def run_gateway(
    options: ServerOptions, number: int, port: Port, scoreboard: Scoreboard, bus_path: Path, pipe: Connection
) -> None:
    """Entry point of the process.

    Args:
        options: of the server.
        number: of this gateway, from 0; its slot of the scoreboard.
        port: shared by all gateways.
        scoreboard: of the server.
        bus_path: socket of the bus.
        pipe: to the parent.
    """
    run_process(lambda parent: _main(options, number, port, scoreboard, bus_path, parent), pipe, f"gateway {number}")


async def _main(
    options: ServerOptions, number: int, port: Port, scoreboard: Scoreboard, bus_path: Path, parent: Parent
) -> None:
    stop = parent.stop_event()
    # Not a share of max_clients: the kernel distributes connections by a hash, a few percent unevenly.
    capacity = client_capacity(raise_descriptor_limit())
    bus = await subscribe(bus_path, timeout_s=BUS_TIMEOUT_S)
    limit = ClientLimit(scoreboard, number, capacity=capacity, max_clients=options.max_clients)
    gateway = Gateway(options, number, bus, limit)
    following = asyncio.create_task(gateway.follow_bus())
    stopping = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(gateway.updates.wait_ready())
    await asyncio.wait({following, stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not stopping.done():
        # aiohttp's access log and shutdown wait are off: the gateway closes its own connections, below.
        log = logging.getLogger("vfctl.server.http")
        log.addFilter(is_server_error)
        runner = web.AppRunner(build_app(gateway, options), access_log=None, logger=log, shutdown_timeout=0.5)
        await runner.setup()
        gateway.publish_metrics()  # before the first request
        tasks = [
            asyncio.create_task(_publish_metrics_forever(gateway)),
            asyncio.create_task(
                collect_garbage_forever(lambda: gateway.clients.traffic.connections - len(gateway.clients))
            ),
        ]
        http_server = runner.server
        assert http_server is not None, "runner.setup has created it"
        listening = await asyncio.get_running_loop().create_server(
            lambda: FirstRequestTimeout(http_server()), sock=port.open(), backlog=BACKLOG
        )
        parent.report(Ready(f"up to {capacity} clients"))
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        listening.close()
        await gateway.clients.close_all("the server stops")
        await runner.cleanup()
    starting.cancel()
    stopping.cancel()
    await bus.close()
    if following.done():
        following.result()
        if not stop.is_set():
            raise PeerError("the source process has closed the bus")
    following.cancel()


async def _publish_metrics_forever(gateway: Gateway) -> None:
    while True:
        gateway.publish_metrics()
        await asyncio.sleep(PUBLISH_PERIOD_S)


def is_server_error(record: logging.LogRecord) -> bool:
    """Whether an error that aiohttp logs with a traceback is the server's, not invalid HTTP or a lost connection."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError)
