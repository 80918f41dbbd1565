"""How a Python gateway should write one frame to tens of thousands of sockets: several ways, on the same connections.

    python benchmarks/writers.py [--connections 50000] [--rate 1] [--nodes 316 100] [--seconds 3] [--rounds 3]

Several sender processes (writing_sender.py, uvloop) share a port, each within a process's 20,000 open files; as many
of receiver.c hold the connections. Every connection gets `--rate` frames a second, spread over 60 ticks a second. The
way of writing is switched by a command between two measurements, without reconnecting, and the ways take turns, round
after round: the range over the rounds is the noise. With few frames a tick, one sees mostly what a tick costs.

- transport.write: what a gateway does that trusts its loop. uvloop keeps the bytes until the end of the iteration.
- os.write, socket.send: the system call on the transport's descriptor, whose buffer is empty; the transport gets what
  the socket has not taken.
- liburing: one send a socket in batches of at most 1,024, one system call each, through the package from PyPI.
- gateway's ring: the same without a library, the entries written by slices: vfctl/sockets/submission_ring.py.
- +reno, +cubic…: the same way with another TCP_CONGESTION than the machine's default, set on the open connections. A
  frame is one segment here and a round trip takes microseconds, so bbr's pacing has nothing to hold back (with 300
  connections its timer, tcp_pace_kick, was not started once): what differs is what the algorithms compute. On a
  network that may be different.
- C, C io_uring: send_floor.c, with connections of its own: the floor.

µs a frame is the CPU time of the senders, user and system, divided by the frames that have arrived; on loopback this
includes the kernel's way up to the receiving socket. Latency is from the tick's start to the kernel's stamp of the
arrival, so it is mostly the frame's place in the tick's batch.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fanout import message
from install_peers import PYTHON, ensure_peers
from processes import HERE, Running, compiled, cpu_s, free_port, spent_s, wait_until

from vfctl.server.capacity import raise_descriptor_limit

MIN_SENDERS = 3
MAX_CONNECTIONS_A_PROCESS = 17_000
CLIENTS_PER_SOURCE = 10_000
"""As receiver.c has it."""

CONNECTS_PER_S = 3000
CONNECT_TIMEOUT_S = 90.0
SETTLE_S = 1.2
"""After a switch: every connection has had a frame in the new way."""

MIN_DELIVERED = 0.99
"""Of the frames that were due; less is noted."""

KERNEL = Path("/proc/sys/net/ipv4")
OTHER_CONGESTION = ("reno", "cubic", "bbr")
BASE = "transport.write"


@dataclass(frozen=True, slots=True)
class Variant:
    """A way of writing.

    Attributes:
        writer: the sender's name for it.
        congestion: TCP_CONGESTION, or empty: the sender knows only the default.
    """

    name: str
    writer: str
    congestion: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement.

    Attributes:
        frame_us: CPU time of the senders a frame.
        receiver_us: that of the receivers.
        delivered: share of the frames that were due.
        partial: frames that a socket has not taken whole.
    """

    frame_us: float
    receiver_us: float
    delivered: float
    p50_ms: float
    p95_ms: float
    partial: int


@dataclass(slots=True)
class Results:
    """Of all variants with one size of frame.

    Attributes:
        path: a file with the message.
        failures: why there are no runs, or no more.
    """

    path: Path
    frame_bytes: int
    runs: dict[str, list[Run]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Fleet:
    """Senders of one kind with their receivers, all connected."""

    def __init__(self, stack: ExitStack, program: Sequence[object], frame: Path, connections: int, rate: float) -> None:
        port = free_port()
        self.connections, self.rate = connections, rate
        count = max(MIN_SENDERS, -(-connections // MAX_CONNECTIONS_A_PROCESS))
        self.senders = [stack.enter_context(Running(*program, port, frame, rate)) for _ in range(count)]
        self.pids = [int(sender.line()) for sender in self.senders]
        shares = [connections // count + (number < connections % count) for number in range(count)]
        sources = -(-max(shares) // CLIENTS_PER_SOURCE)
        receiver = compiled("receiver.c")
        self.receivers = [
            stack.enter_context(Running(receiver, port, "/ws", share, CONNECTS_PER_S / count, number * sources))
            for number, share in enumerate(shares)
        ]
        wait_until(f"{connections} connections", self.connected, CONNECT_TIMEOUT_S, every_s=0.5)

    def connected(self) -> bool:
        for process in (*self.senders, *self.receivers):
            process.check()
        return self.received("stats")["connections"] >= self.connections

    def tell(self, command: str) -> None:
        """All senders.

        Raises:
            ValueError: one cannot do it, and says why.
        """
        for sender in self.senders:
            answer = sender.ask(command)
            if "error" in answer:
                raise ValueError(answer["error"])

    def received(self, command: str) -> dict[str, float]:
        """The receivers' answers to `stats` or `reset`: sums, and the mean of each percentile.

        The connections of a receiver are spread over all senders, so the receivers differ by chance only.
        """
        answers = [receiver.ask(command) for receiver in self.receivers]
        totals = {key: sum(answer[key] for answer in answers) for key in answers[0]}
        return {key: total / len(answers) if key.endswith("_us") else total for key, total in totals.items()}

    def partial(self) -> int:
        return sum(sender.stats()["partial"] for sender in self.senders)

    def measure(self, seconds: float) -> Run:
        """What is going on.

        Raises:
            RuntimeError: connections have been lost.
        """
        receiver_pids = [receiver.process.pid for receiver in self.receivers]
        partial = self.partial()
        receiver_before = cpu_s(receiver_pids)
        before, seen, began_s = cpu_s(self.pids), self.received("reset"), time.monotonic()
        time.sleep(seconds)
        after, now_seen, took_s = cpu_s(self.pids), self.received("stats"), time.monotonic() - began_s
        if now_seen["connections"] < self.connections:
            raise RuntimeError(f"only {now_seen['connections']:g} of {self.connections} connections are left")
        frames = max(1, now_seen["frames"] - seen["frames"])
        return Run(
            frame_us=spent_s(before, after) / frames * 1e6,
            receiver_us=spent_s(receiver_before, cpu_s(receiver_pids)) / frames * 1e6,
            delivered=frames / (self.connections * self.rate * took_s),
            p50_ms=now_seen["p50_us"] / 1000,
            p95_ms=now_seen["p95_us"] / 1000,
            partial=self.partial() - partial,
        )


def congestion() -> tuple[str, list[str]]:
    """The machine's default for new connections, and what else is there to compare with."""
    default = (KERNEL / "tcp_congestion_control").read_text().strip()
    there = (KERNEL / "tcp_available_congestion_control").read_text().split()
    return default, [name for name in OTHER_CONGESTION if name in there and name != default]


def python_variants() -> list[Variant]:
    default, others = congestion()
    names = ("transport.write", "os.write", "socket.send", "liburing", "gateway's ring")
    return [
        *(Variant(name, name, default) for name in names),
        *(Variant(f"{BASE} +{other}", BASE, other) for other in others),
    ]


C_VARIANTS = [Variant("C", "send"), Variant("C io_uring", "io_uring")]


def take_turns(
    fleet: Fleet, variants: Sequence[Variant], rounds: int, seconds: float, results: Sequence[Results]
) -> None:
    """Each size of frame, round after round of the variants; one that fails is not tried again."""
    for found in results:
        fleet.tell(f"frame {found.path}")
        for number in range(rounds):
            print(f"  {found.frame_bytes:,} bytes, round {number + 1}", file=sys.stderr, flush=True)
            for variant in variants:
                if variant.name in found.failures:
                    continue
                try:
                    switch(fleet, variant)
                except ValueError as error:
                    found.failures[variant.name] = str(error)
                    continue
                time.sleep(SETTLE_S)
                found.runs.setdefault(variant.name, []).append(fleet.measure(seconds))


def switch(fleet: Fleet, variant: Variant) -> None:
    """Make the senders write so.

    Raises:
        ValueError: they cannot.
    """
    if variant.congestion:
        fleet.tell(f"congestion {variant.congestion}")
    fleet.tell(f"writer {variant.writer}")


def show(found: Results, connections: int, rate: float) -> None:
    """One table: medians over the rounds, the ratio that of each round."""
    base = found.runs.get(BASE, [])
    print(f"\n{found.frame_bytes:,} bytes a frame, {connections:,} connections, {rate:g} frames/s each")
    print(
        f"{'':24}{'µs a frame':>11}{'range':>14}{'× ' + BASE:>19}{'P50 ms':>8}{'P95 ms':>8}{'partial':>9}"
        f"{'receiver µs':>13}  note"
    )
    for name, runs in found.runs.items():
        lowest, highest = min(one.frame_us for one in runs), max(one.frame_us for one in runs)
        ratios = [one.frame_us / its_base.frame_us for one, its_base in zip(runs, base, strict=False)]
        ratio = statistics.median(ratios) if ratios else float("nan")
        delivered = middle(runs, "delivered")
        note = f"delivered {delivered:.0%} of what was due" if delivered < MIN_DELIVERED else ""
        print(
            f"{name:24}{middle(runs, 'frame_us'):>11.2f}{f'{lowest:.2f}–{highest:.2f}':>14}{ratio:>19.2f}"
            f"{middle(runs, 'p50_ms'):>8.2f}{middle(runs, 'p95_ms'):>8.2f}{sum(one.partial for one in runs):>9,}"
            f"{middle(runs, 'receiver_us'):>13.2f}  {note}".rstrip()
        )
    for name, reason in found.failures.items():
        print(f"{name:24}{'-':>11}  {reason}")


def middle(runs: Sequence[Run], what: str) -> float:
    """The median of one attribute."""
    return statistics.median(getattr(one, what) for one in runs)


def compare(asked: argparse.Namespace, folder: Path) -> list[Results]:
    """All variants with all sizes of frame."""
    results = []
    for nodes in asked.nodes:
        path = folder / f"message-{nodes}"
        results.append(Results(path, path.write_bytes(message(nodes))))
    kinds = (
        ((PYTHON, HERE / "writing_sender.py"), python_variants()),
        ((compiled("send_floor.c"),), C_VARIANTS),
    )
    for program, variants in kinds:
        chosen = [variant for variant in variants if not asked.only or variant.name in {BASE, *asked.only}]
        if not chosen:
            continue
        print(f"connecting {asked.connections:,} for {chosen[0].name}…", file=sys.stderr, flush=True)
        with ExitStack() as stack:
            fleet = Fleet(stack, program, results[0].path, asked.connections, asked.rate)
            take_turns(fleet, chosen, asked.rounds, asked.seconds, results)
    return results


def main() -> None:
    names = [variant.name for variant in (*python_variants(), *C_VARIANTS)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=1.0, help="frames a second and connection")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured, of each variant in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, nargs="+", default=[316, 100], help="316 are 9 KB a frame, 100 are 2.8 KB")
    parser.add_argument("--only", nargs="+", choices=names, help=f"and {BASE}")
    asked = parser.parse_args()
    ensure_peers()
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory() as folder:
        results = compare(asked, Path(folder))
    default, _ = congestion()
    print(f"TCP_CONGESTION is {default}, where nothing else is said")
    for found in results:
        show(found, asked.connections, asked.rate)


if __name__ == "__main__":
    main()
