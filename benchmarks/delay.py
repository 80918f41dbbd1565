"""Checks that the load generator measures an added delay of 5 ms as 5 ms.

    python benchmarks/delay.py [--clients 1000] [--rate 1] [--seconds 10] [--repeat 3]

It runs `vfctl loadtest` against frame_source.py without and with `--delay-ms 5`, alternately, and compares the medians
of the reported latencies. Then it stops the generator processes for 100 ms in every second. The kernel stamps arrivals,
so these stops must not change the latency. They do change the latency in user space (`latency_user_ms`), which is
printed, too. The exit code is 1 if a difference is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import threading
from dataclasses import dataclass

from processes import VFCTL, Running, Source

DELAY_MS = 5.0
TOLERANCE_MS = 0.2
STOPPED_S = 0.1
STOP_EVERY_S = 1.0
SOURCE_PROCESSES = 1


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of a run in ms, by the kernel's timestamps and by those in user space."""

    p50: float
    p95: float
    user_p50: float
    user_p95: float


def measure(delay_ms: float, stopping: bool, asked: argparse.Namespace) -> Latency:
    """One run against a server of its own.

    Raises:
        RuntimeError: the generator has failed.
    """
    options = f"--clients {asked.clients} --duration {asked.seconds} --json -"
    with (
        Source(processes=SOURCE_PROCESSES, nodes=100, rate=asked.rate, delay_ms=delay_ms) as source,
        Running(VFCTL, "loadtest", source.url, *options.split(), quiet=True, interrupt=True) as generator,
    ):
        if stopping:
            stop_and_continue(generator)
        printed = generator.process.stdout.read()
        if generator.process.wait():
            generator.check()
    results = json.loads(printed)
    if results["latency_clock"] != "kernel":
        sys.exit("the kernel of this machine does not stamp arrivals: nothing to compare")
    kernel, user = results["latency_ms"], results["latency_user_ms"]
    return Latency(kernel["p50"], kernel["p95"], user["p50"], user["p95"])


def stop_and_continue(generator: Running) -> None:
    """Stop its generator processes repeatedly, from a thread, until it ends. The conductor's process continues."""

    def interfere() -> None:
        while generator.process.poll() is None:
            children = generator.pids[1:]
            send(children, signal.SIGSTOP)
            ended.wait(STOPPED_S)
            send(children, signal.SIGCONT)
            ended.wait(STOP_EVERY_S - STOPPED_S)

    ended = threading.Event()
    threading.Thread(target=interfere, daemon=True).start()


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def compare(name: str, stopping: bool, asked: argparse.Namespace) -> bool:
    """Run without and with the delay alternately. Returns whether the difference is right."""
    runs: dict[float, list[Latency]] = {0.0: [], DELAY_MS: []}
    print(f"\n{name}\n{'delay':>8}{'P50':>9}{'P95':>9}{'user P50':>11}{'user P95':>10}  (ms)")
    for _ in range(asked.repeat):
        for delay_ms, there in runs.items():
            seen = measure(delay_ms, stopping, asked)
            there.append(seen)
            line = f"{delay_ms:>8g}{seen.p50:>9.3f}{seen.p95:>9.3f}{seen.user_p50:>11.3f}{seen.user_p95:>10.3f}"
            print(line, flush=True)
    difference_ms = median(runs[DELAY_MS], "p50") - median(runs[0.0], "p50")
    right = abs(difference_ms - DELAY_MS) <= TOLERANCE_MS
    expected = f"{DELAY_MS:g} ± {TOLERANCE_MS:g} ms"
    print(f"{'PASS' if right else 'FAIL'}  the medians differ by {difference_ms:.3f} ms, expected {expected}")
    beside_ms = median(runs[DELAY_MS], "p95") - median(runs[0.0], "p95")
    print(f"      P95 by {beside_ms:.3f} ms")
    return right


def median(runs: list[Latency], what: str) -> float:
    return statistics.median(getattr(one, what) for one in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1.0, help="frames a second and client")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured, of each run")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    print(f"{asked.clients:,} clients, {asked.rate:g} frames/s each, {asked.seconds:g} s a run")
    right = compare("undisturbed", False, asked)
    stopped = f"generator stopped for {STOPPED_S * 1000:g} ms every {STOP_EVERY_S:g} s"
    right &= compare(stopped, True, asked)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
