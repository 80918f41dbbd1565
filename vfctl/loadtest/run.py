"""A load test from start to end: an embedded server if there is none, generator processes, one set of results."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from vfctl.errors import PeerError
from vfctl.loadtest.observations import Observations, Outcome
from vfctl.loadtest.plan import (
    CONNECT_TIMEOUT_S,
    Shard,
    clients_per_process,
    default_ramp_s,
    is_local,
    plan_shards,
    source_addresses,
)
from vfctl.loadtest.preflight import preflight, read_limits
from vfctl.loadtest.results import Results
from vfctl.loadtest.scenario import Scenario
from vfctl.loadtest.shard_process import Failure, Finish, Measure, Progress, Report, run_shard
from vfctl.loadtest.target import DEFAULT_URL, Peer, identify, resolve
from vfctl.server.descriptors import raise_descriptor_limit
from vfctl.server.launch import Server, launch
from vfctl.server.options import ServerOptions
from vfctl.server.spawn import spawn

SETTLE_S: Final = 0.5
"""Between the end of the ramp and the measurement: the last handshakes' backlog is not part of the result."""

FINISH_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Status:
    """Where a run stands, for a display.

    Attributes:
        stage: `ramp`, `measure` or `finish`.
        elapsed_s, stage_s: time in this stage, and how long it takes.
        outcome: how the clients fare.
        messages, bytes: received in the measured time so far.
    """

    stage: str
    elapsed_s: float
    stage_s: float
    outcome: Outcome
    messages: int
    bytes: int


class Stop:
    """Asks a run to end early and still report; set from a signal handler."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """End the run."""
        self.requested = True


def run_loadtest(
    scenario: Scenario,
    url: str | None,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_status: Callable[[Status], None] = lambda _: None,
    stop: Stop | None = None,
    source_ip: str | None = None,
) -> Results:
    """Run a scenario against `url`; None is the default address if something answers there, else a server of our own.

    Args:
        say: told in a line what happens that people want to know.
        on_status: called a few times a second.
        source_ip: addresses of this machine to connect from, as a CIDR; None chooses.

    Raises:
        VfctlError: nothing answers at the URL, the server cannot start, or a generator died.
    """
    with ExitStack() as stack:
        url, peer = _find_peer(scenario, url, stack, say)
        full_url, target = resolve(url, scenario.encoding)
        say(f"{scenario.clients:,} clients against {full_url} ({peer.name})")
        ramp_s = default_ramp_s(scenario.clients) if scenario.ramp_s is None else scenario.ramp_s
        per_process = clients_per_process(raise_descriptor_limit())
        sources = source_addresses(target, scenario.clients, source_ip)
        for check in preflight(
            scenario.clients, read_limits(), sources=max(1, len(sources)), server_here=is_local(target)
        ):
            if not check.ok:
                say(f"{check.what}: {check.needed} needed, {check.available} there; try: {check.command}")
        shards = plan_shards(
            target, scenario.clients, ramp_s, scenario.filter, per_process=per_process, sources=sources
        )
        run = _Run(shards, scenario.duration_s, ramp_s, on_status, stop or Stop())
        stack.callback(run.kill)
        reports, duration_s = run.go()
    outcome, seen = Outcome(), Observations()
    for report in reports:
        outcome += report.outcome
        seen.merge(report.observations)
    healths = tuple(report.health for report in reports)
    return Results(full_url, peer.name, outcome, seen, duration_s, healths, run.interrupted)


def _find_peer(scenario: Scenario, url: str | None, stack: ExitStack, say: Callable[[str], None]) -> tuple[str, Peer]:
    if url is not None:
        return url, identify(url)
    try:
        peer = identify(DEFAULT_URL)
        say(f"{peer.name} answers on port 8765; options of the embedded server are not used")
        return DEFAULT_URL, peer
    except PeerError:
        say("nothing answers on port 8765, starting an embedded server for this run")
    options = ServerOptions(source=scenario.server.live_graph(), port=0, workers=scenario.server.workers)
    server: Server = stack.enter_context(launch(options, on_progress=say))
    return server.url, identify(server.url)


class _Run:
    """The generator processes of one run."""

    def __init__(
        self, shards: list[Shard], duration_s: float, ramp_s: float, on_status: Callable[[Status], None], stop: Stop
    ) -> None:
        self._duration_s = duration_s
        self._ramp_s = ramp_s
        self._on_status = on_status
        self._stop = stop
        self._clients = sum(shard.clients for shard in shards)
        self._progress: dict[int, Progress] = {}
        self._reports: dict[int, Report] = {}
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        self.interrupted = False
        for shard in shards:
            process, pipe = spawn(run_shard, shard, name=f"generator {shard.number}")
            self._pipes.append(pipe)
            self._processes.append(process)

    def go(self) -> tuple[list[Report], float]:
        """Ramp, measure, finish; the reports and the measured time in seconds."""
        self._wait("ramp", self._ramp_s + CONNECT_TIMEOUT_S, self._ramped)
        start_ns = time.time_ns() + int(SETTLE_S * 1e9)
        end_ns = start_ns + int(self._duration_s * 1e9)
        self._tell(Measure(start_ns, end_ns))
        self._wait("measure", SETTLE_S + self._duration_s, self._nobody_left)
        stopped_ns = time.time_ns()
        self._tell(Finish())
        self._stop.requested, self.interrupted = False, self._stop.requested
        self._wait("finish", FINISH_TIMEOUT_S, lambda: len(self._reports) == len(self._pipes))
        if len(self._reports) < len(self._pipes):
            raise PeerError("a generator process did not report its results in time")
        duration_s = max(0.0, (min(end_ns, stopped_ns) - start_ns) / 1e9)
        return list(self._reports.values()), duration_s

    def kill(self) -> None:
        """End all processes; those that have reported have ended by themselves."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(1.0)
            if process.is_alive():
                process.kill()
                process.join()

    def _ramped(self) -> bool:
        """Every client has begun, and either reached Connected or failed."""
        there = self._progress.values()
        return len(there) == len(self._pipes) and all(progress.outcome.connecting == 0 for progress in there)

    def _nobody_left(self) -> bool:
        """All clients have failed for good: there is nothing to wait for."""
        return sum(progress.outcome.failed for progress in self._progress.values()) == self._clients

    def _wait(self, stage: str, limit_s: float, done: Callable[[], bool]) -> None:
        began_s = time.monotonic()
        while not done() and not self._stop.requested:
            elapsed_s = time.monotonic() - began_s
            if elapsed_s >= limit_s:
                return
            open_pipes = [pipe for pipe in self._pipes if not pipe.closed]
            for pipe in wait(open_pipes, min(0.1, limit_s - elapsed_s)):
                self._hear(next(known for known in open_pipes if known is pipe))
            self._on_status(self._status(stage, elapsed_s, limit_s))

    def _hear(self, pipe: Connection) -> None:
        try:
            told: Any = pipe.recv()
        except EOFError:
            number = self._pipes.index(pipe)
            if number in self._reports:
                pipe.close()
                return
            self._processes[number].join(1.0)
            code = self._processes[number].exitcode
            raise PeerError(f"generator process {number} died with exit code {code}") from None
        match told:
            case Progress():
                self._progress[told.shard] = told
            case Report():
                self._reports[told.shard] = told
            case Failure(error):
                raise error

    def _status(self, stage: str, elapsed_s: float, stage_s: float) -> Status:
        there = self._progress.values()
        outcome = sum((progress.outcome for progress in there), Outcome()) if there else Outcome(self._clients)
        messages = sum(progress.messages for progress in there)
        return Status(stage, elapsed_s, stage_s, outcome, messages, sum(progress.bytes for progress in there))

    def _tell(self, what: Measure | Finish) -> None:
        for pipe in self._pipes:
            pipe.send(what)
