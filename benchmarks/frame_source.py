"""A bare source of stamped frames: what load generators are measured against, so that no gateway is measured with them.

    python benchmarks/frame_source.py --port 9000 --processes 3 --nodes 100 --rate 1

Several processes share the port. Each sends every connection a whole PositionUpdate, TIMED, `--rate` times a second,
spread evenly over 60 ticks; `--delay-ms` holds each frame back for so long between stamping and sending. Prints its
pids once all of them listen, and for each line `stats` on stdin a JSON line: connections now, frames sent, and frames
skipped because their connection had not taken the one before. Ends with its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import MutableSequence
from multiprocessing.synchronize import Event

import numpy as np
import uvloop

from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, PositionUpdate, Trailer, encode
from vfctl.protocol.websocket import accept_key, frame

TICKS_PER_S = 60
SPIN_S = 0.0003
"""The end of a delay is spent looking at the clock: sleep() comes back late by some tenths of a millisecond."""

COUNTERS = ("connections", "frames", "skipped")


class Viewer(asyncio.Protocol):
    """One connection: answers the handshake, then only listens."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.pending = b""
        self.slot: dict[asyncio.Transport, None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.slot is not None:
            return
        self.pending += data
        if b"\r\n\r\n" not in self.pending:
            return
        if self.pending.startswith(b"GET /healthz"):
            self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        key = self.pending.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        self.transport.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode()
            + self.source.graph()
        )
        self.slot = self.source.join(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.slot is not None:
            self.slot.pop(self.transport, None)
            self.source.counts[0] -= 1


class Source:
    """The schedule of one process: connections in slots, a slot a tick.

    Attributes:
        counts: as COUNTERS says, in memory that the parent reads.
    """

    def __init__(self, nodes: int, rate: float, delay_s: float, counts: MutableSequence[int]) -> None:
        self.nodes = np.zeros(nodes, NODE_DTYPE)
        self.nodes["id"] = range(nodes)
        self.interval_us = round(1e6 / rate)
        self.slots: list[dict[asyncio.Transport, None]] = [{} for _ in range(round(TICKS_PER_S / rate))]
        self.delay_s = delay_s
        self.counts = counts
        self.joined = 0
        self.tick_number = 0

    def trailer(self) -> Trailer:
        return Trailer(self.tick_number // len(self.slots), time.time_ns() // 1000, self.interval_us)

    def graph(self) -> bytes:
        return frame(encode(FullGraph(self.nodes, np.zeros(0, EDGE_DTYPE), trailer=self.trailer())))

    def join(self, transport: asyncio.Transport) -> dict[asyncio.Transport, None]:
        slot = self.slots[self.joined % len(self.slots)]
        self.joined += 1
        self.counts[0] += 1
        slot[transport] = None
        return slot

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        next_tick = loop.time()
        while True:
            slot = self.slots[self.tick_number % len(self.slots)]
            framed = frame(encode(PositionUpdate(self.nodes, True, self.trailer())))
            self.tick_number += 1
            if self.delay_s:
                hold(self.delay_s)
            self.send(slot, framed)
            next_tick = max(next_tick + 1 / TICKS_PER_S, loop.time())
            await asyncio.sleep(next_tick - loop.time())

    def send(self, slot: dict[asyncio.Transport, None], framed: bytes) -> None:
        sent = 0
        for transport in slot:
            if not transport.get_write_buffer_size():
                transport.write(framed)
                sent += 1
        self.counts[1] += sent
        self.counts[2] += len(slot) - sent


def hold(delay_s: float) -> None:
    """Return after `delay_s`, late by microseconds only; event loops' timers have a resolution of a millisecond."""
    until_s = time.perf_counter() + delay_s
    time.sleep(max(0.0, delay_s - SPIN_S))
    while time.perf_counter() < until_s:
        pass


async def serve(
    port: int, nodes: int, rate: float, delay_s: float, counts: MutableSequence[int], listening: Event
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    source = Source(nodes, rate, delay_s, counts)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    await asyncio.get_running_loop().create_server(lambda: Viewer(source), sock=listener, backlog=4096)
    listening.set()
    await source.run()


def end_with_parent() -> None:
    """A source whose parent was killed would go on listening, and mix with the next one's."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def run_process(*arguments: object) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    uvloop.run(serve(*arguments))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=100, help="100 are 2.8 KB, 316 are 8.9 KB")
    parser.add_argument("--rate", type=float, default=1.0, help="frames a second and connection")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    arguments = (asked.port, asked.nodes, asked.rate, asked.delay_ms / 1000)
    counts = [context.RawArray("Q", len(COUNTERS)) for _ in range(asked.processes)]
    listening = [context.Event() for _ in counts]
    processes = [
        context.Process(target=run_process, args=(*arguments, *own), daemon=True)
        for own in zip(counts, listening, strict=True)
    ]
    for process in processes:
        process.start()
    for process, event in zip(processes, listening, strict=True):
        while not event.wait(0.1):
            if not process.is_alive():
                sys.exit("a process of the source could not listen")
    print("pids", os.getpid(), *(process.pid for process in processes), flush=True)
    for line in sys.stdin:
        if line.strip() == "stats":
            totals = (sum(numbers) for numbers in zip(*counts, strict=True))
            print(json.dumps(dict(zip(COUNTERS, totals, strict=True))), flush=True)


if __name__ == "__main__":
    main()
