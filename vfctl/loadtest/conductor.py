"""Leads the generator processes through the course of a load test, and collects what they have seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from vfctl.errors import PeerError
from vfctl.loadtest.clock import ClockSample, correction_us
from vfctl.loadtest.live import Live, Status
from vfctl.loadtest.meter import NEVER_NS
from vfctl.loadtest.plan import CONNECT_TIMEOUT_S, Shard, is_local
from vfctl.loadtest.shard_process import Begin, Failure, Finish, Progress, Report, SetClock, run_shard
from vfctl.loadtest.stages import Step
from vfctl.server.spawn import spawn

SETTLE_S: Final = 0.5
"""Between a ramp and a measured stage: the last handshakes' backlog is not part of the result."""

STATUS_S: Final = 0.25
"""Time between two looks at the display."""

CLOCK_S: Final = 10.0
"""Time between two corrections of the clock: quartz drifts, and a better sample may have come."""

FINISH_TIMEOUT_S: Final = 15.0


class Stop:
    """Asks a run to end early and still report; set from a signal handler."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """End the run."""
        self.requested = True


@dataclass(frozen=True, slots=True)
class Played:
    """A stage that has been played.

    Attributes:
        step: what it was.
        duration_s: how long it took; of a measured one, the measured time.
    """

    step: Step
    duration_s: float


@dataclass(frozen=True, slots=True)
class Performance:
    """How the course went.

    Attributes:
        played: the stages that have begun.
        reports: one of each shard.
        interrupted: it was ended early.
        clock: the best that is known of the server's clock; None if it answered no heartbeat.
        offset_us: what latencies were corrected by in the end.
    """

    played: list[Played]
    reports: list[Report]
    interrupted: bool
    clock: ClockSample | None
    offset_us: int


class Conductor:
    """The generator processes of one run. `kill` it when done, however it ended.

    Args:
        shards: what each process does.
        steps: the course.
        on_status: called up to ten times a second.
        stop: ends the run early.
        watch: called as often, to look after what is tested; what it raises ends the run.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        steps: list[Step],
        on_status: Callable[[Status], None],
        stop: Stop,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._steps = steps
        self._on_status = on_status
        self._stop = stop
        self._watch = watch
        self._local = is_local(shards[0].target)
        self._live = Live(steps, len(shards))
        self._reports: dict[int, Report] = {}
        self._clocks: dict[int, ClockSample] = {}
        self._offset_us = 0
        self._next_clock_s = 0.0
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        for shard in shards:
            process, pipe = spawn(run_shard, shard, name=f"generator {shard.number}")
            self._pipes.append(pipe)
            self._processes.append(process)

    def play(self) -> Performance:
        """All stages, then the reports.

        Raises:
            VfctlError: a generator process has failed.
        """
        played = []
        for number, step in enumerate(self._steps):
            if self._stop.requested or (number and self._nobody_left()):
                break
            played.append(Played(step, self._play(number, step)))
        self._tell(Finish())
        interrupted, self._stop.requested = self._stop.requested, False
        self._wait(FINISH_TIMEOUT_S, lambda: len(self._reports) == len(self._pipes), finishing=True)
        if len(self._reports) < len(self._pipes):
            raise PeerError("a generator process did not report its results in time")
        best = min(self._clocks.values(), default=None)
        return Performance(played, list(self._reports.values()), interrupted, best, self._offset_us)

    def kill(self) -> None:
        """End all processes; those that have reported have ended by themselves."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(1.0)
            if process.is_alive():
                process.kill()
                process.join()

    def _play(self, number: int, step: Step) -> float:
        """One stage; how long it took, in seconds."""
        before = self._steps[number - 1] if number else step
        moved = before.kind == "ramp" or before.clients != step.clients
        settle_s = SETTLE_S if step.measured and step.kind == "hold" and moved else 0.0
        start_ns = time.time_ns() + int(settle_s * 1e9)
        is_ramp = step.kind == "ramp"
        end_ns = NEVER_NS if is_ramp else start_ns + int(step.lasts_s * 1e9)
        limit_s = step.lasts_s + CONNECT_TIMEOUT_S if is_ramp else settle_s + step.lasts_s
        began_s = time.monotonic()
        self._live.begin(number, began_s, limit_s)
        self._tell(Begin(number, step, start_ns, end_ns))
        if is_ramp:
            self._wait(limit_s, lambda: time.monotonic() - began_s >= step.lasts_s and self._all_there())
        else:
            self._wait(limit_s, self._nobody_left)
        return max(0.0, (min(end_ns, time.time_ns()) - start_ns) / 1e9)

    def _all_there(self) -> bool:
        """Every client has begun, and either reached Connected or failed."""
        return self._live.heard_from_all and self._live.outcome.connecting == 0

    def _nobody_left(self) -> bool:
        """All clients have failed for good: there is nothing to wait for."""
        outcome = self._live.outcome
        return self._live.heard_from_all and 0 < outcome.failed == outcome.target

    def _wait(self, limit_s: float, done: Callable[[], bool], *, finishing: bool = False) -> None:
        began_s = time.monotonic()
        while not done() and not self._stop.requested:
            now_s = time.monotonic()
            if now_s - began_s >= limit_s:
                return
            open_pipes = [pipe for pipe in self._pipes if not pipe.closed]
            for pipe in wait(open_pipes, min(STATUS_S, began_s + limit_s - now_s)):
                self._hear(next(known for known in open_pipes if known is pipe))
            self._watch()
            self._correct_clock()
            self._on_status(self._live.status(time.monotonic(), finishing=finishing))

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
                self._live.take(told)
                if told.clock is not None:
                    self._clocks[told.shard] = told.clock
            case Report():
                self._reports[told.shard] = told
            case Failure(error):
                raise error

    def _correct_clock(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_clock_s or not self._clocks:
            return
        self._next_clock_s = now_s + CLOCK_S
        offset_us = correction_us(min(self._clocks.values()), self._local)
        if offset_us != self._offset_us:
            self._offset_us = offset_us
            self._tell(SetClock(offset_us))

    def _tell(self, what: Begin | SetClock | Finish) -> None:
        for pipe in self._pipes:
            if not pipe.closed:
                pipe.send(what)
