"""The project's gateway process behind a bus that brings it a constant state, fresh 60 times a second.

    python benchmarks/gateway_sender.py --port 9000 --nodes 316 --rate 1

It stands for `vfctl serve` without the physics, which would take the CPU that is measured here: this process plays the
frame source, the gateway is the one of every server. Prints the gateway's pid once it listens; ends with its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import uvloop

from vfctl.bus import BusServer
from vfctl.graph.generators import generate
from vfctl.graph.model import to_full_graph
from vfctl.protocol import NODE_DTYPE, PositionUpdate, Trailer, encode
from vfctl.server.options import ServerOptions
from vfctl.server.process.child import spawn
from vfctl.server.process.child_main import Ready
from vfctl.server.process.gateway_process import run_gateway
from vfctl.server.process.port import Port
from vfctl.server.runtime import unix_time_us
from vfctl.server.scoreboard import Scoreboard

TICKS_PER_S = 60
NEVER_S = 1e6


async def publish(path: Path, nodes: int, ended: asyncio.Event) -> None:
    """Play the frame source: the graph once, and its state at every tick, as if it had moved."""
    graph = generate("scale-free", nodes, 0)
    state = np.zeros(nodes, NODE_DTYPE)
    state["id"] = graph.ids
    bus = BusServer(path)
    await bus.start()
    bus.publish_graph(encode(to_full_graph(graph, state, trailer=Trailer(0, unix_time_us(), 0))))
    loop = asyncio.get_running_loop()
    next_tick = loop.time()
    while not ended.is_set():
        bus.publish_frame(encode(PositionUpdate(state, False, Trailer(0, unix_time_us(), 0))))
        next_tick = max(next_tick + 1 / TICKS_PER_S, loop.time())
        await asyncio.sleep(next_tick - loop.time())
    await bus.close()


async def run(asked: argparse.Namespace) -> None:
    interval_ms = 1000 / asked.rate
    options = ServerOptions(
        port=asked.port, active_interval_ms=interval_ms, stable_interval_ms=interval_ms, heartbeat_s=NEVER_S
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="vfctl-") as folder:
        path = Path(folder) / "bus"
        publishing = asyncio.create_task(publish(path, asked.nodes, ended))
        port = Port(options.host, asked.port, None)
        gateway, pipe = spawn(run_gateway, options, 0, port, Scoreboard(1), path, name="gateway 0")
        ready = await loop.run_in_executor(None, pipe.recv)
        if not isinstance(ready, Ready):
            raise SystemExit(f"the gateway says {ready}")
        print(gateway.pid, flush=True)
        await publishing
        gateway.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--nodes", type=int, default=316)
    parser.add_argument("--rate", type=float, default=1.0, help="frames a second and connection")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
