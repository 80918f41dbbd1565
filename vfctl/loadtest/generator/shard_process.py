"""One generator process: runs an engine, and exchanges messages with its parent."""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from vfctl.errors import EXIT_BUG, VfctlError
from vfctl.loadtest.generator.engine import Engine
from vfctl.loadtest.generator.health import Health, HealthMonitor
from vfctl.loadtest.generator.heartbeats import ClockSample
from vfctl.loadtest.generator.observations import ConnectStats, Outcome, StageObservations
from vfctl.loadtest.generator.plan import Shard
from vfctl.loadtest.scenario.stages import Step
from vfctl.logs import set_up_child
from vfctl.metrics import LatencyHistogram
from vfctl.server.capacity import raise_descriptor_limit

PROGRESS_PERIOD_S: Final = 0.5
"""Time between two progress messages."""


@dataclass(frozen=True, slots=True)
class Begin:
    """To a shard: a stage begins.

    Attributes:
        stage: its index.
        step: the stage.
        start_ns, end_ns: messages that arrive in [start_ns, end_ns), unix time, belong to it.
    """

    stage: int
    step: Step
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class SetClock:
    """To a shard: how far the server's clock is ahead of ours."""

    offset_us: int


@dataclass(frozen=True, slots=True)
class Finish:
    """To a shard: close all connections, report and end."""


@dataclass(frozen=True, slots=True)
class Progress:
    """From a shard, twice a second: its state.

    Attributes:
        at_s: when it was sent, monotonic.
        stage: index of the present stage; -1 before the first.
        outcome: the state of its clients.
        messages, bytes: received since the process began.
        recent: latencies since the last progress message, in µs.
        errors: failures since the process began, by kind.
        clock: the best sample of the server's clock; None if there is none yet.
        cpu_s: CPU time of the process since it began.
    """

    shard: int
    at_s: float
    stage: int
    outcome: Outcome
    messages: int
    bytes: int
    recent: LatencyHistogram
    errors: Counter[str]
    clock: ClockSample | None
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """From a shard, at the end: all that it has seen.

    Attributes:
        stages: those that have begun.
        connects: of the whole run.
        health: the load of this process.
    """

    shard: int
    stages: list[StageObservations]
    connects: ConnectStats
    health: Health


@dataclass(frozen=True, slots=True)
class Failure:
    """From a shard: it cannot continue."""

    error: VfctlError


def run_shard(shard: Shard, pipe: Connection) -> None:
    """Entry point of the process. The parent handles Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_up_child(f"generator {shard.number}")
    gc.disable()  # a collection over 16,000 clients stalls, and nothing here creates cycles
    try:
        raise_descriptor_limit()
        _run(shard, pipe)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent has ended
    except VfctlError as error:
        pipe.send(Failure(error))
    except Exception as error:
        pipe.send(Failure(VfctlError(f"generator {shard.number} failed: {type(error).__name__}: {error}")))
        raise SystemExit(EXIT_BUG) from error


def _run(shard: Shard, pipe: Connection) -> None:
    engine = Engine(shard)
    monitor = HealthMonitor(shard.number)
    next_progress_s = time.monotonic()
    stage = -1
    commands = select.poll()  # many times cheaper than the pipe's own poll()
    commands.register(pipe.fileno(), select.POLLIN)
    while True:
        monitor.tick(engine.step())
        if commands.poll(0):
            match pipe.recv():
                case Begin(stage, step, start_ns, end_ns):
                    engine.begin_stage(shard.part_of(step.clients), step.over_s, start_ns, end_ns, storms=step.measured)
                    if step.measured:
                        monitor.measure(start_ns, end_ns)
                case SetClock(offset_us):
                    engine.set_clock_offset(offset_us)
                case Finish():
                    break
        if time.monotonic() >= next_progress_s:
            next_progress_s = time.monotonic() + PROGRESS_PERIOD_S
            pipe.send(_progress(engine, shard.number, stage))
    stages = engine.close()
    pipe.send(Report(shard.number, stages, engine.connects, monitor.report()))


def _progress(engine: Engine, number: int, stage: int) -> Progress:
    messages, size = engine.totals()
    errors = engine.connects.errors
    now_s = time.monotonic()
    outcome, recent, cpu_s = engine.outcome(), engine.drain_recent(), time.process_time()
    return Progress(number, now_s, stage, outcome, messages, size, recent, errors, engine.clock(), cpu_s)
