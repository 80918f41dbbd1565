"""One generator process: runs an engine, hears its parent, tells what it has seen."""

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
from vfctl.loadtest.generator.clock_offset import ClockSample
from vfctl.loadtest.generator.engine import Engine
from vfctl.loadtest.generator.health import Health, HealthMonitor
from vfctl.loadtest.generator.observations import Connects, Outcome, StageSeen
from vfctl.loadtest.generator.plan import Shard
from vfctl.loadtest.scenario.stages import Step
from vfctl.metrics import LatencyHistogram
from vfctl.server.process.descriptors import raise_descriptor_limit

REPORT_S: Final = 0.5
"""Time between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Begin:
    """To a shard: a stage begins.

    Attributes:
        stage: its number.
        step: what it is.
        start_ns, end_ns: what arrives in [start, end), unix time, belongs to it.
    """

    stage: int
    step: Step
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class SetClock:
    """To a shard: what the server's clock is ahead of ours."""

    offset_us: int


@dataclass(frozen=True, slots=True)
class Finish:
    """To a shard: close all connections, report and end."""


@dataclass(frozen=True, slots=True)
class Progress:
    """From a shard, twice a second: where it stands.

    Attributes:
        at_s: when, monotonic.
        stage: the stage it is in; -1 before the first.
        outcome: how its clients fare.
        messages, bytes: received since it began.
        recent: latencies since the last report.
        errors: failures since it began.
        clock: the best that is known of the server's clock.
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
    """From a shard, last: all it has seen.

    Attributes:
        stages: those that have begun.
        connects: of the whole run.
        health: whether this process was a bottleneck.
    """

    shard: int
    stages: list[StageSeen]
    connects: Connects
    health: Health


@dataclass(frozen=True, slots=True)
class Failure:
    """From a shard: it cannot go on."""

    error: VfctlError


def run_shard(shard: Shard, pipe: Connection) -> None:
    """Entry point of the process. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # nothing here makes cycles, and a collection over 16,000 clients is a stall
    try:
        raise_descriptor_limit()
        _run(shard, pipe)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent has gone
    except VfctlError as error:
        pipe.send(Failure(error))
    except Exception as error:
        pipe.send(Failure(VfctlError(f"generator {shard.number} failed: {type(error).__name__}: {error}")))
        raise SystemExit(EXIT_BUG) from error


def _run(shard: Shard, pipe: Connection) -> None:
    engine = Engine(shard)
    monitor = HealthMonitor(shard.number)
    next_report_s = time.monotonic()
    stage = -1
    told = select.poll()  # many times cheaper than the pipe's own poll()
    told.register(pipe.fileno(), select.POLLIN)
    while True:
        monitor.tick(engine.step())
        if told.poll(0):
            match pipe.recv():
                case Begin(stage, step, start_ns, end_ns):
                    engine.begin(shard.part_of(step.clients), step.over_s, start_ns, end_ns, storms=step.measured)
                    if step.measured:
                        monitor.measure(start_ns, end_ns)
                case SetClock(offset_us):
                    engine.set_clock_offset(offset_us)
                case Finish():
                    break
        if time.monotonic() >= next_report_s:
            next_report_s = time.monotonic() + REPORT_S
            pipe.send(_progress(engine, shard.number, stage))
    stages = engine.leave()
    pipe.send(Report(shard.number, stages, engine.connects, monitor.report()))


def _progress(engine: Engine, number: int, stage: int) -> Progress:
    messages, size = engine.totals()
    errors = engine.connects.errors
    now_s = time.monotonic()
    outcome, recent, cpu_s = engine.outcome(), engine.take_recent(), time.process_time()
    return Progress(number, now_s, stage, outcome, messages, size, recent, errors, engine.clock(), cpu_s)
