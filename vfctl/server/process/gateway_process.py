"""The process of one gateway. It imports neither JAX nor networkx: graph and labels come over the bus."""

from __future__ import annotations

import asyncio
import logging
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from aiohttp import WSCloseCode, web
from aiohttp.http_exceptions import HttpProcessingError

from vfctl.bus import subscribe
from vfctl.errors import PeerError
from vfctl.server.gateway.gateway import Gateway
from vfctl.server.http.endpoints import build_app
from vfctl.server.http.first_request import FirstRequest
from vfctl.server.options import ServerOptions
from vfctl.server.process.child_main import Parent, Ready, run_process
from vfctl.server.process.descriptors import client_capacity, raise_descriptor_limit
from vfctl.server.process.gc_policy import collect_forever
from vfctl.server.process.port import BACKLOG, Port
from vfctl.server.process.publish_metrics import post, post_forever
from vfctl.server.process.scoreboard import Places, Scoreboard

BUS_TIMEOUT_S: Final = 30.0


def run_gateway(
    options: ServerOptions, number: int, port: Port, scoreboard: Scoreboard, bus_path: Path, pipe: Connection
) -> None:
    """Entry point of the process.

    Args:
        number: which gateway this is, from 0; its slot of the scoreboard.
        port: the port that all gateways share.
    """
    run_process(lambda parent: _main(options, number, port, scoreboard, bus_path, parent), pipe, f"gateway {number}")


async def _main(
    options: ServerOptions, number: int, port: Port, scoreboard: Scoreboard, bus_path: Path, parent: Parent
) -> None:
    ending = parent.gone()
    # Not a share of max_clients: the kernel spreads connections over gateways by a hash, a few percent unevenly.
    capacity = client_capacity(raise_descriptor_limit())
    bus = await subscribe(bus_path, timeout_s=BUS_TIMEOUT_S)
    places = Places(scoreboard, number, capacity=capacity, max_clients=options.max_clients)
    gateway = Gateway(options, number, bus, places)
    following = asyncio.create_task(gateway.follow_bus())
    stopping = asyncio.create_task(ending.wait())
    starting = asyncio.create_task(gateway.wait_ready())
    await asyncio.wait({following, stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not stopping.done():
        # The access log and the shutdown wait of aiohttp are off: we close our own connections, below.
        log = logging.getLogger("vfctl.server.http")
        log.addFilter(is_our_fault)
        runner = web.AppRunner(build_app(gateway), access_log=None, logger=log, shutdown_timeout=0.5)
        await runner.setup()
        post(gateway)  # before anybody can ask
        chores = [asyncio.create_task(chore) for chore in (post_forever(gateway), collect_forever(gateway))]
        answer = runner.server
        assert answer is not None, "it has been set up"
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: FirstRequest(answer()), sock=port.open(), backlog=BACKLOG)
        parent.report(Ready(f"up to {capacity} clients"))
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for chore in chores:
            chore.cancel()
        listening.close()
        await _say_goodbye(gateway)
        await runner.cleanup()
    starting.cancel()
    stopping.cancel()
    await bus.close()
    if following.done():
        following.result()
        if not ending.is_set():
            raise PeerError("the frame source has gone")
    following.cancel()


def is_our_fault(record: logging.LogRecord) -> bool:
    """Whether an error that aiohttp logs, with its traceback, is news: not what peers send that is not HTTP, nor that
    they leave."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError)


async def _say_goodbye(gateway: Gateway) -> None:
    """Close all connections with 1001, so that clients know to come back; those that do not answer are cut."""
    closing = [
        asyncio.create_task(connection.socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops"))
        for connection in gateway.clients
    ]
    if closing:
        _, pending = await asyncio.wait(closing, timeout=2.0)
        for task in pending:
            task.cancel()
        for connection in gateway.clients:
            connection.transport.abort()
