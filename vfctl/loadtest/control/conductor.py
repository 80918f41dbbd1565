"""Leads the generator processes through the stages of a load test and collects their reports."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final, Self

from vfctl.errors import PeerError, VfctlError
from vfctl.loadtest.control.abort import AbortWatch
from vfctl.loadtest.control.live import Status, status_of
from vfctl.loadtest.control.progress import ProgressFold
from vfctl.loadtest.generator.heartbeats import ClockSample, correction_us
from vfctl.loadtest.generator.meter import NEVER_NS
from vfctl.loadtest.generator.plan import CONNECT_TIMEOUT_S, Shard, is_local
from vfctl.loadtest.generator.shard_process import Begin, Failure, Finish, Progress, Report, SetClock, run_shard
from vfctl.loadtest.results.build import FinishedRun, FinishedStage
from vfctl.loadtest.results.model import GateVerdict
from vfctl.loadtest.scenario.stages import Step
from vfctl.server.process.child import spawn

SETTLE_S: Final = 0.5
"""Pause between a ramp and a measured stage, because the backlog of the last handshakes is not part of the results."""

STATUS_PERIOD_S: Final = 0.25
"""Longest time between two calls of `on_status`."""

CLOCK_PERIOD_S: Final = 10.0
"""Time between two corrections of the clock offset, because quartz drifts and better samples arrive."""

START_TIMEOUT_S: Final = 120.0
"""Longest start of the generator processes. It takes seconds, and on a busy machine much longer."""

FINISH_TIMEOUT_S: Final = 15.0


class Stop:
    """Asks a run to end early and still report; set from a signal handler."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """End the run."""
        self.requested = True


class TargetRun:
    """The run against one server: its shards' progress and reports, and its clock.

    Args:
        shards: those that connect to this server.

    Attributes:
        numbers: of the shards.
        progress: the fold of their progress messages, from `restart` on.
        reports: the final report of each shard, by its number.
        offset_us: the clock offset that latencies are corrected by.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.numbers = frozenset(shard.number for shard in shards)
        self.reports: dict[int, Report] = {}
        self.offset_us = 0
        self._is_local = is_local(shards[0].target)
        self._clocks: dict[int, ClockSample] = {}
        self.restart()

    def restart(self) -> None:
        """Begin the run now."""
        self.progress = ProgressFold(time.monotonic(), self.numbers)

    def add(self, progress: Progress) -> None:
        """Add a progress message of one of the shards."""
        self.progress.add(progress)
        if progress.clock is not None:
            self._clocks[progress.shard] = progress.clock

    @property
    def clock(self) -> ClockSample | None:
        """The best sample of the server's clock; None if there is none yet."""
        return min(self._clocks.values(), default=None)

    def update_offset(self) -> bool:
        """Take the clock offset from the best sample.

        Returns:
            Whether the offset has changed.
        """
        before, self.offset_us = self.offset_us, correction_us(self.clock, self._is_local)
        return self.offset_us != before


class Conductor:
    """The generator processes of one run, until the end of a `with` block.

    Args:
        shards: one per process.
        steps: the stages.
        on_status: called several times a second.
        stop: ends the run early.
        check_server: called several times a second; if it raises a VfctlError, the run ends.
        abort: gates that end the run early.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        steps: list[Step],
        on_status: Callable[[Status], None],
        stop: Stop,
        check_server: Callable[[], None] = lambda: None,
        abort: AbortWatch | None = None,
    ) -> None:
        self._steps = steps
        self._on_status = on_status
        self._stop = stop
        self._check_server = check_server
        self._abort = abort or AbortWatch()
        self._aborted: GateVerdict | None = None
        self._failure: VfctlError | None = None
        self._dead: set[int] = set()
        self._silent = {shard.number for shard in shards}
        self._targets = [TargetRun(own) for own in _by_target(shards)]
        self._target_of = {number: target for target in self._targets for number in target.numbers}
        self._stage = 0
        self._stage_began_s: float | None = None
        self._stage_limit_s = steps[0].lasts_s
        self._next_clock_s = 0.0
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        for shard in shards:
            process, pipe = spawn(run_shard, shard, name=f"generator {shard.number}")
            self._pipes.append(pipe)
            self._processes.append(process)

    def run(self) -> FinishedRun:
        """Run all stages against one server and collect the reports.

        If a generator process or the server dies, the run ends there. Then `failure` says what happened, and the
        reports are those of the processes that still answered.
        """
        return self.run_all()[0]

    def run_all(self) -> list[FinishedRun]:
        """Run all stages against several servers at the same time; one result per server."""
        self._restart()
        self._wait(START_TIMEOUT_S, lambda: not self._silent)
        if self._silent and not self._ended():
            self._fail(PeerError(f"a generator process did not start within {START_TIMEOUT_S:g} s"))
        began_unix_s = time.time()
        self._restart()
        stages = []
        for number, step in enumerate(self._steps):
            if self._ended() or (number and self._all_failed()):
                break
            stages.append(FinishedStage(step, self._run_stage(number, step)))
        interrupted = self._stop.requested and self._aborted is None  # a later request changes nothing
        self._send(Finish())
        self._wait(FINISH_TIMEOUT_S, self._all_reported, finishing=True)
        if not self._all_reported():
            self._fail(PeerError("a generator process did not report its results in time"))
        return [
            FinishedRun(
                stages,
                list(target.reports.values()),
                interrupted,
                target.clock,
                target.offset_us,
                target.progress.finish(),
                aborted=self._aborted,
                began_unix_s=began_unix_s,
                failure=self._failure,
            )
            for target in self._targets
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill all processes that have not ended by themselves."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(1.0)
            if process.is_alive():
                process.kill()
                process.join()

    def _restart(self) -> None:
        for target in self._targets:
            target.restart()
        self._all = self._targets[0].progress
        if len(self._targets) > 1:  # the display shows both servers together
            self._all = ProgressFold(time.monotonic(), frozenset(self._target_of))

    def _folds(self) -> set[ProgressFold]:
        return {self._all, *(target.progress for target in self._targets)}

    def _all_reported(self) -> bool:
        """Whether no more reports can arrive. In an interrupted run, shards that had not begun are not waited for."""
        silent = self._silent if self._stop.requested else frozenset[int]()
        return all(target.numbers <= target.reports.keys() | self._dead | silent for target in self._targets)

    def _ended(self) -> bool:
        """Whether the run has been ended early."""
        return self._stop.requested or self._aborted is not None or self._failure is not None

    def _fail(self, failure: VfctlError) -> None:
        """End the run. The first failure is kept, because it causes the others."""
        self._failure = self._failure or failure

    def _run_stage(self, number: int, step: Step) -> float:
        """Run one stage; returns its measured length in seconds."""
        before = self._steps[number - 1] if number else step
        level_changed = before.kind == "ramp" or before.clients != step.clients
        settle_s = SETTLE_S if step.measured and step.kind == "hold" and level_changed else 0.0
        start_ns = time.time_ns() + int(settle_s * 1e9)
        is_ramp = step.kind == "ramp"
        end_ns = NEVER_NS if is_ramp else start_ns + int(step.lasts_s * 1e9)
        limit_s = step.lasts_s + CONNECT_TIMEOUT_S if is_ramp else settle_s + step.lasts_s
        began_s = time.monotonic()
        measured_from_s = began_s + settle_s if step.measured else None
        self._stage, self._stage_began_s, self._stage_limit_s = number, began_s, limit_s
        for fold in self._folds():
            fold.begin_stage(step.name, began_s, measured_from_s)
        self._abort.begin_stage(measured_from_s)
        self._send(Begin(number, step, start_ns, end_ns))
        if is_ramp:
            self._wait(limit_s, lambda: time.monotonic() - began_s >= step.lasts_s and self._all_connected())
        else:
            self._wait(limit_s, self._all_failed)
        return max(0.0, (min(end_ns, time.time_ns()) - start_ns) / 1e9)

    def _all_connected(self) -> bool:
        """Whether every client has tried to connect, and is connected or has failed."""
        return self._all.all_in_stage and self._all.outcome.connecting == 0

    def _all_failed(self) -> bool:
        """Whether all clients have failed for good: there is nothing to wait for."""
        outcome = self._all.outcome
        return self._all.all_in_stage and 0 < outcome.failed == outcome.target

    def _wait(self, limit_s: float, done: Callable[[], bool], *, finishing: bool = False) -> None:
        """Handle messages until `done`, the end of the run, or the time limit."""
        began_s = time.monotonic()
        while not done() and (finishing or not self._ended()):
            now_s = time.monotonic()
            if now_s - began_s >= limit_s:
                return
            open_pipes = [pipe for pipe in self._pipes if not pipe.closed]
            for pipe in wait(open_pipes, min(STATUS_PERIOD_S, began_s + limit_s - now_s)):
                self._receive(next(known for known in open_pipes if known is pipe))
            if not finishing:
                self._run_check()
            self._correct_clock()
            self._on_status(self._status(finishing))
            if not finishing:
                stages = [target.progress.stage for target in self._targets]
                self._aborted = self._abort.failed_gate(time.monotonic(), stages)

    def _status(self, finishing: bool) -> Status:
        elapsed_s = 0.0 if self._stage_began_s is None else time.monotonic() - self._stage_began_s
        limit_s = self._stage_limit_s
        return status_of(self._all, self._steps, self._stage, elapsed_s=elapsed_s, limit_s=limit_s, finishing=finishing)

    def _run_check(self) -> None:
        try:
            self._check_server()
        except VfctlError as error:
            if not self._stop.requested:  # Ctrl-C on a terminal also ends an embedded server
                self._fail(error)

    def _receive(self, pipe: Connection) -> None:
        """Handle one message of a shard, or the end of its process."""
        try:
            message: Any = pipe.recv()
        except (EOFError, ConnectionResetError):
            number = self._pipes.index(pipe)
            pipe.close()
            if number not in self._target_of[number].reports:
                self._dead.add(number)
                self._processes[number].join(1.0)
                code = self._processes[number].exitcode
                self._fail(PeerError(f"generator process {number} died with exit code {code}"))
            return
        match message:
            case Progress():
                self._silent.discard(message.shard)
                target = self._target_of[message.shard]
                target.add(message)
                if self._all is not target.progress:
                    self._all.add(message)
            case Report():
                self._target_of[message.shard].reports[message.shard] = message
            case Failure(error):
                self._fail(error)

    def _correct_clock(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_clock_s or not all(target.clock for target in self._targets):
            return
        self._next_clock_s = now_s + CLOCK_PERIOD_S
        for target in self._targets:
            if target.update_offset():
                self._send(SetClock(target.offset_us), target.numbers)

    def _send(self, message: Begin | SetClock | Finish, numbers: frozenset[int] | None = None) -> None:
        """Send a message to all shards, or to those of these numbers."""
        for number, pipe in enumerate(self._pipes):
            if not pipe.closed and (numbers is None or number in numbers):
                with contextlib.suppress(BrokenPipeError):  # the process has died; `_receive` notices
                    pipe.send(message)


def _by_target(shards: Sequence[Shard]) -> list[list[Shard]]:
    """The shards of each server."""
    return [
        [shard for shard in shards if shard.target_index == index] for index in sorted({s.target_index for s in shards})
    ]
