"""How many connections a second a server takes, on the machine that also opens them.

    python benchmarks/handshakes.py [--clients 15000] [--workers 3] [--rounds 3]

`vfctl serve` with its bundled graph, and benchmarks/receiver.c, which opens connections as fast as it can (512 at once
on their way). Once while nothing is broadcast (an interval of a quarter of an hour), once while everybody who is there
gets a frame of 8.9 KB a second. Printed are handshakes a second from the first to the last, and the CPU time of the
server a handshake, which includes the FullGraph that each client gets.
"""

from __future__ import annotations

import argparse
import statistics
import time
import urllib.request

from processes import VFCTL, Running, compiled, cpu_s, free_port, has_clients, spent_s, wait_until

FAST = 100_000
"""Connections a second that are asked for: more than there can be."""

NEVER_MS = 900_000
TIMEOUT_S = 120.0


def measure(clients: int, workers: int, interval_ms: int) -> tuple[float, float]:
    """Handshakes a second, and the server's CPU time of one in µs."""
    port = free_port()
    options = f"--port {port} --workers {workers} --max-clients {clients}"
    pace = f"--active-interval-ms {interval_ms} --stable-interval-ms {interval_ms}"
    with Running(VFCTL, "serve", *options.split(), *pace.split(), quiet=True, interrupt=True) as server:

        def answers() -> bool:
            server.check()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                    return True
            except OSError:
                return False

        wait_until("the server", answers, TIMEOUT_S)
        time.sleep(2)
        before_s, began_s = cpu_s(server.pids), time.monotonic()
        with Running(compiled("receiver.c"), port, "/ws?timed=1", clients, FAST) as receiver:
            connected = has_clients(receiver, clients, server)
            wait_until(f"{clients} connections", connected, TIMEOUT_S, every_s=0.02)
            took_s = time.monotonic() - began_s
            cpu = spent_s(before_s, cpu_s(server.pids))
    return clients / took_s, cpu / clients * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=15_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(f"{asked.clients:,} connections, {asked.workers} gateways, median of {asked.rounds} (least to most)")
    for what, interval_ms in (("nothing is broadcast", NEVER_MS), ("8.9 KB a second to each", 1000)):
        runs = [measure(asked.clients, asked.workers, interval_ms) for _ in range(asked.rounds)]
        rates, costs = zip(*runs, strict=True)
        spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"{what:26}{statistics.median(rates):8,.0f}/s {spread:20} {statistics.median(costs):6.0f} µs of CPU each")


if __name__ == "__main__":
    main()
