"""What a delivered frame costs the sender: the gateway beside other WebSocket servers and beside a plain send() loop.

    python benchmarks/fanout.py [--loads small 2000x9 15000x9] [--rate 20] [--seconds 8] [--only C vfctl ws]

All send the same message to the same receiver, benchmarks/receiver.c, at the same pace: each connection has its turn
RATE times a second, and the turns are spread over 60 ticks a second. What counts is the CPU time of the sending
process, divided by the frames that the receiver has counted meanwhile. On loopback the kernel's part of it includes
the way up to the receiving socket.

- C (send_floor.c) is the floor: send() and nothing else.
- vfctl is the gateway process as every server has it, with what it does besides: a new state from the bus at every
  tick, decoded, encoded and framed anew, and a schedule in 960 phases (gateway_sender.py).
- aiohttp: `await socket.send_bytes()` for one after the other; websockets: its `broadcast()`; both on uvloop, without
  compression. ws: `socket.send()` of the Node package. See peers/send.py and peers/send.cjs.

C and vfctl run at the start and at the end: their difference is the noise.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from install_peers import PEERS, PYTHON, ensure_peers, node
from processes import HERE, Running, compiled, cpu_s, free_port, has_clients, spent_s, wait_until

from vfctl.protocol import NODE_DTYPE, PositionUpdate, Trailer, encode
from vfctl.server.capacity import raise_descriptor_limit

CONNECTS_PER_S = 1000
CONNECT_TIMEOUT_S = 90.0
SETTLE_S = 2.0
"""Between the last handshake and the measurement."""

MIN_DELIVERED = 0.99
"""Of the frames that were due; less is noted."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent, to how many connections, and how often to each in a second."""

    nodes: int
    size: str
    connections: int
    rate: float


LOADS = {
    "2000x2.8": Load(100, "2.8 KB", 2000, 5.0),
    "15000x2.8": Load(100, "2.8 KB", 15_000, 1.0),
    "2000x9": Load(316, "9 KB", 2000, 5.0),
    "15000x9": Load(316, "9 KB", 15_000, 1.0),
    "200x280": Load(10_000, "280 KB", 200, 5.0),
    "small": Load(316, "9 KB", 300, 5.0),
}
STANDARD = [name for name in LOADS if name != "small"]


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement.

    Attributes:
        frame_us: CPU time of the sender a frame.
        delivered: share of the frames that were due.
        p50_ms: median latency, from the sender's stamp to the kernel's at the receiver.
    """

    frames_per_s: float
    frame_us: float
    cores: float
    delivered: float
    p50_ms: float


Command = Callable[[int, Load, Path], Sequence[object]]
"""From port, load and a file with the message to the words of a command, which prints the pid that counts."""

SENDERS: dict[str, Command] = {
    "C": lambda port, load, file: (compiled("send_floor.c"), port, file, load.rate),
    "vfctl": lambda port, load, file: (
        *(sys.executable, HERE / "gateway_sender.py"),
        *f"--port {port} --nodes {load.nodes} --rate {load.rate}".split(),
    ),
    "ws": lambda port, load, file: (node(), PEERS / "send.cjs", port, file, load.rate),
    "websockets": lambda port, load, file: (PYTHON, PEERS / "send.py", "websockets", port, file, load.rate),
    "aiohttp": lambda port, load, file: (PYTHON, PEERS / "send.py", "aiohttp", port, file, load.rate),
}
ANCHORS = ("C", "vfctl")
"""Run at the start and at the end."""


def message(nodes: int) -> bytes:
    """The PositionUpdate that is sent; its trailer is stamped by the sender."""
    state = np.zeros(nodes, NODE_DTYPE)
    state["id"] = range(nodes)
    return encode(PositionUpdate(state, False, Trailer(0, 0, 0)))


def run(name: str, load: Load, seconds: float) -> Run:
    """Run one sender with a receiver of its own.

    Raises:
        TimeoutError: not all connections came about.
        RuntimeError: sender or receiver has ended.
    """
    with ExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "message"
        file.write_bytes(message(load.nodes))
        port = free_port()
        sender = stack.enter_context(Running(*SENDERS[name](port, load, file), quiet=True))
        pid = int(sender.line())
        words = (compiled("receiver.c"), port, "/ws?timed=1", load.connections, CONNECTS_PER_S)
        receiver = stack.enter_context(Running(*words))
        connected = has_clients(receiver, load.connections, sender)
        wait_until(f"{name}, {load.connections} connections", connected, CONNECT_TIMEOUT_S, every_s=0.5)
        time.sleep(SETTLE_S)
        before_s, seen, began_s = cpu_s([pid]), receiver.stats(), time.monotonic()
        time.sleep(seconds)
        after_s, now_seen, took_s = cpu_s([pid]), receiver.stats(), time.monotonic() - began_s
        if now_seen["connections"] < load.connections:
            raise RuntimeError(f"only {now_seen['connections']} of {load.connections} connections are left")
    frames = now_seen["frames"] - seen["frames"]
    cpu = spent_s(before_s, after_s)
    delivered = frames / (load.connections * load.rate * took_s)
    return Run(frames / took_s, cpu / max(1, frames) * 1e6, cpu / took_s, delivered, now_seen["p50_us"] / 1000)


def compare(load: Load, chosen: Sequence[str], seconds: float, repeat: int) -> None:
    """All senders with one load."""
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    failures: dict[str, str] = {}
    for name in [*chosen, *(name for name in reversed(chosen) if name in ANCHORS)] * repeat:
        print(f"  {name}…", file=sys.stderr, flush=True)
        try:
            runs[name].append(run(name, load, seconds))
        except (RuntimeError, TimeoutError) as error:
            failures[name] = str(error)
    print(f"\n{load.size} a frame, {load.connections:,} connections, {load.rate:g} frames/s each")
    print(
        f"{'':12}{'runs':>5}{'frames/s':>10}{'µs a frame':>12}{'× C':>8}{'× vfctl':>9}{'cores':>7}{'P50 ms':>9}  note"
    )
    for name, there in runs.items():
        if not there:
            print(f"{name:12}{'-':>5}  {failures[name]}")
            continue
        frame_us = middle(there, "frame_us")
        ratios = ""
        for anchor, width in (("C", 8), ("vfctl", 9)):
            others = runs.get(anchor)
            ratios += f"{frame_us / middle(others, 'frame_us') if others else float('nan'):>{width}.1f}"
        print(
            f"{name:12}{len(there):>5}{middle(there, 'frames_per_s'):>10,.0f}{frame_us:>12.2f}{ratios}"
            f"{middle(there, 'cores'):>7.2f}{middle(there, 'p50_ms'):>9.2f}  {note(there)}"
        )


def note(runs: Sequence[Run]) -> str:
    """What one must know to read the numbers."""
    notes = []
    if len(runs) > 1:
        notes.append(f"{min(one.frame_us for one in runs):.2f}–{max(one.frame_us for one in runs):.2f} µs")
    if middle(runs, "delivered") < MIN_DELIVERED:
        notes.append(f"delivered {middle(runs, 'delivered'):.0%} of what was due")
    return ", ".join(notes)


def middle(runs: Sequence[Run], what: str) -> float:
    """The median of one attribute."""
    return statistics.median(getattr(one, what) for one in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", nargs="+", choices=list(LOADS), default=STANDARD, help="connections × KB a frame")
    parser.add_argument("--rate", type=float, help="frames a second to each connection, instead of a load's own")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured, of each run")
    parser.add_argument("--only", nargs="+", choices=list(SENDERS), default=list(SENDERS))
    parser.add_argument("--repeat", type=int, default=1)
    asked = parser.parse_args()
    chosen = [name for name in SENDERS if name in asked.only]
    if set(chosen) - set(ANCHORS):
        ensure_peers()
    raise_descriptor_limit()
    for name in asked.loads:
        load = LOADS[name]
        compare(dataclasses.replace(load, rate=asked.rate or load.rate), chosen, asked.seconds, asked.repeat)


if __name__ == "__main__":
    main()
