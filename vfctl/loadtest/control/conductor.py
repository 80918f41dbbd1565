"""Leads the generator processes through the course of a load test, and collects what they have seen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from vfctl.errors import PeerError, VfctlError
from vfctl.loadtest.control.abort import AbortWatch
from vfctl.loadtest.control.live import Live, Status
from vfctl.loadtest.control.target_run import Side
from vfctl.loadtest.generator.meter import NEVER_NS
from vfctl.loadtest.generator.plan import CONNECT_TIMEOUT_S, Shard, is_local
from vfctl.loadtest.generator.shard_process import Begin, Failure, Finish, Progress, Report, SetClock, run_shard
from vfctl.loadtest.results.performance import Performance, Played
from vfctl.loadtest.scenario.gates import Verdict
from vfctl.loadtest.scenario.stages import Step
from vfctl.server.process.spawn import spawn

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


class Conductor:
    """The generator processes of one run. `kill` it when done, however it ended.

    Args:
        shards: what each process does.
        steps: the course.
        on_status: called several times a second.
        stop: ends the run early.
        watch: called as often, to look after what is tested; a VfctlError of it ends the run.
        abort: gates that end the run early.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        steps: list[Step],
        on_status: Callable[[Status], None],
        stop: Stop,
        watch: Callable[[], None] = lambda: None,
        abort: AbortWatch | None = None,
    ) -> None:
        self._steps = steps
        self._on_status = on_status
        self._stop = stop
        self._watch = watch
        self._abort = abort or AbortWatch()
        self._aborted: Verdict | None = None
        self._failure: VfctlError | None = None
        self._dead: set[int] = set()
        self._live = Live(steps, len(shards))
        self._sides = [
            Side(frozenset(shard.number for shard in own), is_local(own[0].target)) for own in _by_side(shards)
        ]
        self._side_of = {number: side for side in self._sides for number in side.numbers}
        self._next_clock_s = 0.0
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        for shard in shards:
            process, pipe = spawn(run_shard, shard, name=f"generator {shard.number}")
            self._pipes.append(pipe)
            self._processes.append(process)

    def play(self) -> Performance:
        """All stages, then the reports.

        If a generator process or what is tested has died, the course ends there; `failure` says so, and there are the
        reports of those processes that still could tell.
        """
        return self.play_all()[0]

    def play_all(self) -> list[Performance]:
        """The same for several servers at a time: how the course went with each."""
        began_unix_s = time.time()
        for side in self._sides:
            side.restart()
        played = []
        for number, step in enumerate(self._steps):
            if self._ended() or (number and self._nobody_left()):
                break
            played.append(Played(step, self._play(number, step)))
        interrupted = self._stop.requested and self._aborted is None  # whoever asks later is in time for all of it
        self._tell(Finish())
        self._wait(FINISH_TIMEOUT_S, self._all_reported, finishing=True)
        if not self._all_reported():
            self._fail(PeerError("a generator process did not report its results in time"))
        return [
            Performance(
                played,
                list(side.reports.values()),
                interrupted,
                side.clock,
                side.offset_us,
                side.series.finish(),
                aborted=self._aborted,
                began_unix_s=began_unix_s,
                failure=self._failure,
            )
            for side in self._sides
        ]

    def _all_reported(self) -> bool:
        """Nothing more comes: of a run that is interrupted, from those that had not even begun."""
        silent = self._live.silent if self._stop.requested else frozenset()
        return all(side.numbers <= side.reports.keys() | self._dead | silent for side in self._sides)

    def _ended(self) -> bool:
        """Somebody or something has ended the course early."""
        return self._stop.requested or self._aborted is not None or self._failure is not None

    def _fail(self, failure: VfctlError) -> None:
        """End the course; the first failure is the cause of all others."""
        self._failure = self._failure or failure

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
        measured_from_s = began_s + settle_s if step.measured else None
        for side in self._sides:
            side.series.begin_stage(step.name, began_s, measured_from_s)
        self._abort.begin(measured_from_s)
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
        while not done() and (finishing or not self._ended()):
            now_s = time.monotonic()
            if now_s - began_s >= limit_s:
                return
            open_pipes = [pipe for pipe in self._pipes if not pipe.closed]
            for pipe in wait(open_pipes, min(STATUS_S, began_s + limit_s - now_s)):
                self._hear(next(known for known in open_pipes if known is pipe))
            if not finishing:
                self._look_after()
            self._correct_clock()
            self._on_status(self._live.status(time.monotonic(), finishing=finishing))
            if not finishing:
                self._aborted = self._abort.look(time.monotonic())

    def _look_after(self) -> None:
        try:
            self._watch()
        except VfctlError as error:
            if not self._stop.requested:  # a terminal's Ctrl-C has hit the server, too
                self._fail(error)

    def _hear(self, pipe: Connection) -> None:
        try:
            told: Any = pipe.recv()
        except (EOFError, ConnectionResetError):
            number = self._pipes.index(pipe)
            pipe.close()
            if number not in self._side_of[number].reports:
                self._dead.add(number)
                self._processes[number].join(1.0)
                code = self._processes[number].exitcode
                self._fail(PeerError(f"generator process {number} died with exit code {code}"))
            return
        match told:
            case Progress():
                self._live.take(told)
                self._abort.take(told)
                self._side_of[told.shard].take(told)
            case Report():
                self._side_of[told.shard].reports[told.shard] = told
            case Failure(error):
                self._fail(error)

    def _correct_clock(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_clock_s or not all(side.clock for side in self._sides):
            return
        self._next_clock_s = now_s + CLOCK_S
        for side in self._sides:
            if side.corrected():
                self._tell(SetClock(side.offset_us), side.numbers)

    def _tell(self, what: Begin | SetClock | Finish, numbers: frozenset[int] | None = None) -> None:
        """Tell all shards, or those of these numbers."""
        for number, pipe in enumerate(self._pipes):
            if not pipe.closed and (numbers is None or number in numbers):
                with contextlib.suppress(BrokenPipeError):  # it has died: `_hear` finds that out
                    pipe.send(what)


def _by_side(shards: Sequence[Shard]) -> list[list[Shard]]:
    """The shards of each server."""
    return [[shard for shard in shards if shard.side == side] for side in sorted({shard.side for shard in shards})]
