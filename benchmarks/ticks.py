"""How many physics ticks a second are left while a gateway serves clients?

    python benchmarks/ticks.py [--nodes 10000] [--clients 50] [--seconds 15]

`vfctl serve` on a generated graph that never comes to rest (no damping, no cooling), `vfctl loadtest` beside it on the
same cores. Ticks are counted on the bus between the source and the gateways: every state carries its tick's number.
Exit code 1 if there are fewer than 55 a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from processes import VFCTL, Running, cpu_s, free_port, spent_s

from vfctl.bus import Kind, subscribe
from vfctl.protocol import decode

LEAST_HZ = 55.0
START_S = 60.0
RAMP_S = 3.0


async def newest_tick(bus_path: Path) -> tuple[int, float]:
    """The number of the newest tick, and when it was seen, s of the monotonic clock."""
    subscription = await subscribe(bus_path, timeout_s=START_S)
    seen = 0
    async for envelope in subscription:
        if envelope.kind is Kind.FRAME:
            seen += 1
            if seen == 2:  # the first is the last one that was published before
                break
    number = decode(envelope.payload).trailer.sequence
    now_s = time.monotonic()
    await subscription.close()
    return number, now_s


def bus_of(place: Path) -> Path:
    """The bus of the server whose temporary files are in `place`, once it listens."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        for path in place.glob("vfctl-*/bus"):
            return path
        time.sleep(0.05)
    sys.exit("the server has not started")


def main() -> None:
    parser = argparse.ArgumentParser(description="ticks of the physics beside a served load")
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=15)
    asked = parser.parse_args()
    port = free_port()
    restless = ("--set", "damping=0", "--set", "cooling=0")
    graph = ("--nodes", asked.nodes, "--generator", "scale-free")
    with tempfile.TemporaryDirectory() as directory:
        serve = (VFCTL, "serve", *graph, *restless, "--workers", 1, "--port", port)
        load = (VFCTL, "loadtest", f"ws://127.0.0.1:{port}", "--clients", asked.clients, "--ramp", RAMP_S)
        with Running(*serve, quiet=True, interrupt=True, environment={"TMPDIR": directory}) as server:
            bus = bus_of(Path(directory))
            asyncio.run(newest_tick(bus))
            with Running(*load, "--duration", asked.seconds, "--json", "-", quiet=True, interrupt=True) as generator:
                time.sleep(RAMP_S + 2)
                before, cpu_before = asyncio.run(newest_tick(bus)), cpu_s(server.pids)
                time.sleep(asked.seconds - 4)
                after, cpu_after = asyncio.run(newest_tick(bus)), cpu_s(server.pids)
                results = json.loads(generator.process.stdout.read())
    elapsed_s = after[1] - before[1]
    hz = (after[0] - before[0]) / elapsed_s
    print(f"{asked.nodes:,} nodes, {asked.clients} clients: {hz:.1f} ticks/s over {elapsed_s:.1f} s")
    print(f"server: {spent_s(cpu_before, cpu_after) / elapsed_s:.2f} cores; latency ms: {results['latency_ms']}")
    print(json.dumps({key: value for key, value in results.items() if isinstance(value, int | float | str)}, indent=1))
    sys.exit(hz < LEAST_HZ)


if __name__ == "__main__":
    main()
