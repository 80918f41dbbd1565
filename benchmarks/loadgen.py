"""Measures what a received message costs each load generator in CPU and memory: vfctl, others, and plain C.

    python benchmarks/loadgen.py [--clients 1000] [--rate 10] [--seconds 8] [--only vfctl C picows] [--repeat 1]

All run against the same server, benchmarks/frame_source.py, one after the other. The CPU time of the server is not
counted. The result is the CPU time of a generator's process tree in some steady seconds, divided by the frames that
the server wrote in them. Memory is the user memory (PSS) of the tree, per client. The memory that each further client
adds follows from a second run with a tenth of the clients and the same rate of frames, if possible. The kernel's socket
buffers are not included; they are the same for all. For Node the added memory is vague, because its heap size varies.

All handle a message alike: they read it whole from the socket, read the timestamp at its end, and record the latency in
a histogram. Beyond that:

- C (receiver.c) is the floor: recvmsg() with the kernel's arrival stamp, in batches of 3 ms, like vfctl.
- vfctl also checks sequence, due time and flags, and decodes one message in 1,009 whole.
- aiohttp, picows: peers/client.py, which does only this, with arrival times in user space.
- Artillery: its ws engine. A scenario has to attach a listener of its own to measure pushed messages, see
  peers/artillery_latency.cjs. `Artillery, idle` is the scenario `think`: messages are parsed and thrown away.
- Locust: a user with websocket-client that fires a `request` event for each message, which its statistics need.

vfctl and C run at the start and at the end; the difference of their two runs is the noise. A generator that cannot hold
the load (the server skips a connection that has not read its last frame) is tried with half of it, and so on. The table
notes that.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from install_peers import PEERS, PYTHON, ensure_peers, node
from processes import BUILD, VFCTL, Running, Source, compiled, cpu_s, has_clients, pss_kb, spent_s, wait_until

from vfctl.server.capacity import raise_descriptor_limit

SOURCE_PROCESSES = 2
FRAME_NODES = {100: "2.8 KB", 316: "9 KB"}
MAX_RATE = 60.0
CONNECTS_PER_S = 250
CONNECT_TIMEOUT_S = 60.0
BASE_S = 2.0
SETTLE_S = 2.0
"""Time between the last handshake and the measurement."""

BUSY = 0.9
"""Of a core. A generator that uses more has no reserve. None of them uses several cores."""

MAX_SKIPPED = 0.005
HALVINGS = 3

Command = tuple[Sequence[object], dict[str, str]]
"""Arguments and environment."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A load generator.

    Attributes:
        command: makes the command from URL, clients and seconds.
        peer: whether it must be installed.
    """

    name: str
    command: Callable[[str, int, float], Command]
    peer: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement.

    Attributes:
        rate: frames a second for each client, as requested from the server.
        frame_us: CPU time per frame.
        cores: CPU time per second.
        skipped: share of the frames that the server skipped.
        memory_kb: PSS of all processes.
    """

    rate: float
    frames_per_s: float
    frame_us: float
    cores: float
    skipped: float
    memory_kb: int
    processes: int

    @property
    def held(self) -> bool:
        """Whether the generator could hold the load."""
        return self.cores < BUSY and self.skipped < MAX_SKIPPED


def vfctl(url: str, clients: int, seconds: float) -> Command:
    ramp_s = max(1.0, clients / CONNECTS_PER_S)
    options = f"--clients {clients} --ramp {ramp_s} --duration {seconds} --json -"
    return (VFCTL, "loadtest", url, *options.split()), {}


def receiver(url: str, clients: int, seconds: float) -> Command:
    port = url.rpartition(":")[2].partition("/")[0]
    return (compiled("receiver.c"), port, "/ws", clients, CONNECTS_PER_S), {}


def bare(library: str) -> Callable[[str, int, float], Command]:
    return lambda url, clients, seconds: ((PYTHON, PEERS / "client.py", library, url, clients), {})


def locust(url: str, clients: int, seconds: float) -> Command:
    options = f"--headless --only-summary --host {url} --users {clients} --spawn-rate {CONNECTS_PER_S}"
    return (PYTHON.with_name("locust"), "-f", PEERS / "locust_user.py", *options.split()), {}


def artillery(*, measuring: bool) -> Callable[[str, int, float], Command]:
    def command(url: str, clients: int, seconds: float) -> Command:
        ramp_s = max(1, round(clients / CONNECTS_PER_S))
        config = {
            "target": url,
            "processor": str(PEERS / "artillery_latency.cjs"),
            "phases": [{"duration": ramp_s, "arrivalCount": clients}],
        }
        watch = [{"think": ramp_s + seconds}]
        flow = [{"function": "listen"}, *watch] if measuring else watch
        script = BUILD / "artillery.json"
        BUILD.mkdir(exist_ok=True)
        script.write_text(json.dumps({"config": config, "scenarios": [{"engine": "ws", "flow": flow}]}))
        program = PEERS / "node_modules/artillery/bin/run"
        return (node(), program, "run", "--quiet", script), {"ARTILLERY_DISABLE_TELEMETRY": "true"}

    return command


CONTESTANTS = (
    Contestant("vfctl", vfctl, peer=False),
    Contestant("C", receiver, peer=False),
    Contestant("picows", bare("picows")),
    Contestant("aiohttp", bare("aiohttp")),
    Contestant("Artillery, idle", artillery(measuring=False)),
    Contestant("Artillery", artillery(measuring=True)),
    Contestant("Locust", locust),
)
ANCHORS = ("vfctl", "C")
"""They run at the start and at the end."""


def run(contestant: Contestant, clients: int, nodes: int, rate: float, seconds: float) -> Run:
    """Run one generator against a server of its own.

    Raises:
        TimeoutError: not all clients have connected in time.
        RuntimeError: the generator has ended, or lost clients.
    """
    with ExitStack() as stack:
        source = stack.enter_context(Source(processes=SOURCE_PROCESSES, nodes=nodes, rate=rate))
        words, environment = contestant.command(source.url, clients, SETTLE_S + seconds + 3)
        generator = stack.enter_context(Running(*words, quiet=True, interrupt=True, environment=environment))
        wait_until(f"{contestant.name}, {clients} clients", has_clients(source, clients, generator), CONNECT_TIMEOUT_S)
        time.sleep(SETTLE_S)
        pids = generator.pids
        before_s, seen, began_s = cpu_s(pids), source.stats(), time.monotonic()
        time.sleep(seconds)
        pids = generator.pids
        after_s, now_seen, took_s = cpu_s(pids), source.stats(), time.monotonic() - began_s
        memory_kb = pss_kb(pids)
        if now_seen["connections"] < clients:
            raise RuntimeError(f"{contestant.name}: only {now_seen['connections']} of {clients} clients are left")
    frames, skipped = (now_seen[key] - seen[key] for key in ("frames", "skipped"))
    cpu = spent_s(before_s, after_s)
    skipped_share = skipped / max(1, frames + skipped)
    return Run(rate, frames / took_s, cpu / frames * 1e6, cpu / took_s, skipped_share, memory_kb, len(pids))


def run_held(contestant: Contestant, clients: int, nodes: int, rate: float, seconds: float) -> Run:
    """Run at the highest rate among `rate` and its halves that the generator holds, or else at the lowest.

    Raises:
        TimeoutError, RuntimeError: as `run` does, at the lowest.
    """
    for halving in range(HALVINGS):
        try:
            once = run(contestant, clients, nodes, rate / 2**halving, seconds)
        except (RuntimeError, TimeoutError) as error:
            print(f"    {error}", file=sys.stderr)
            continue
        if once.held:
            return once
    return run(contestant, clients, nodes, rate / 2**HALVINGS, seconds)


def added_kb(contestant: Contestant, many: Run, clients: int, nodes: int) -> float:
    """Memory that a client adds: `many` is a run of `clients`, and another run has a tenth of them."""
    few = max(1, clients // 10)
    rate = min(MAX_RATE, many.rate * clients / few)
    return (many.memory_kb - run(contestant, few, nodes, rate, BASE_S).memory_kb) / (clients - few)


def in_turn(chosen: Sequence[Contestant]) -> list[Contestant]:
    """Every contestant once, the anchors also at the end."""
    return [*chosen, *(contestant for contestant in reversed(chosen) if contestant.name in ANCHORS)]


def compare(chosen: Sequence[Contestant], asked: argparse.Namespace, nodes: int) -> None:
    """Run all contestants with one frame size, and print a table."""
    runs: dict[str, list[Run]] = {contestant.name: [] for contestant in chosen}
    added: dict[str, float] = {}
    failures: dict[str, str] = {}
    for contestant in in_turn(chosen) * asked.repeat:
        name = contestant.name
        print(f"  {name}…", file=sys.stderr, flush=True)
        try:
            runs[name].append(run_held(contestant, asked.clients, nodes, asked.rate, asked.seconds))
            if name not in added and asked.clients > 1 and not asked.no_base:
                added[name] = added_kb(contestant, runs[name][0], asked.clients, nodes)
        except (RuntimeError, TimeoutError) as error:
            failures[name] = str(error)
    size = FRAME_NODES.get(nodes, f"{nodes} nodes")
    print(f"\n{size} a frame, {asked.clients:,} clients, {asked.rate:g} frames/s each")
    print(f"{'':18}{'runs':>5}{'frames/s':>10}{'µs a frame':>12}{'× C':>8}{'× vfctl':>9}{'cores':>7}", end="")
    print(f"{'KB a client':>13}{'KB more':>9}  note")
    for contestant in chosen:
        name = contestant.name
        if runs[name]:
            print_row(name, runs, asked, added.get(name))
        else:
            print(f"{name:18}{'-':>5}  {failures[name]}")


def print_row(name: str, all_runs: dict[str, list[Run]], asked: argparse.Namespace, added: float | None) -> None:
    """Print one line of the table, with medians."""
    runs = all_runs[name]
    frame_us = middle(runs, "frame_us")
    ratios = ""
    for anchor, width in (("C", 8), ("vfctl", 9)):
        there = all_runs.get(anchor)
        ratios += f"{frame_us / middle(there, 'frame_us') if there else float('nan'):>{width}.1f}"
    more = "-" if added is None else f"{added:.1f}"
    print(
        f"{name:18}{len(runs):>5}{middle(runs, 'frames_per_s'):>10,.0f}{frame_us:>12.2f}{ratios}"
        f"{middle(runs, 'cores'):>7.2f}{middle(runs, 'memory_kb') / asked.clients:>13.1f}{more:>9}"
        f"  {note(runs, asked.rate)}"
    )


def note(runs: Sequence[Run], asked_rate: float) -> str:
    """Remarks that explain the numbers of a line."""
    notes = []
    rate = middle(runs, "rate")
    if rate != asked_rate:
        notes.append(f"only {rate:g} frames/s each")
    if len(runs) > 1:
        frame_us = [one.frame_us for one in runs]
        notes.append(f"{min(frame_us):.2f}–{max(frame_us):.2f} µs")
    if middle(runs, "processes") > 1:
        notes.append(f"{middle(runs, 'processes'):.0f} processes")
    if middle(runs, "skipped") > MAX_SKIPPED:
        notes.append(f"did not read {middle(runs, 'skipped'):.1%} of its frames")
    if middle(runs, "cores") > BUSY:
        notes.append("a core was not enough")
    return ", ".join(notes)


def middle(runs: Sequence[Run], what: str) -> float:
    """The median of one attribute."""
    return statistics.median(getattr(one, what) for one in runs)


def main() -> None:
    names = [contestant.name for contestant in CONTESTANTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=10.0, help=f"frames a second and client, {MAX_RATE:g} at most")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured, of each run")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--nodes", nargs="+", type=int, default=list(FRAME_NODES), help="in a frame, 28 bytes each")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--no-base", action="store_true", help="skip the runs with a tenth of the clients")
    asked = parser.parse_args()
    chosen = [contestant for contestant in CONTESTANTS if contestant.name in asked.only]
    if any(contestant.peer for contestant in chosen):
        ensure_peers()
    raise_descriptor_limit()
    for nodes in asked.nodes:
        compare(chosen, asked, nodes)


if __name__ == "__main__":
    main()
