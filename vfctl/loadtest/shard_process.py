"""One generator process: runs an engine, hears its parent, tells what it has seen."""

from __future__ import annotations

import gc
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from vfctl.errors import EXIT_BUG, VfctlError
from vfctl.loadtest.engine import Engine
from vfctl.loadtest.health import Health, HealthMonitor
from vfctl.loadtest.observations import Observations, Outcome
from vfctl.loadtest.plan import Shard
from vfctl.server.descriptors import raise_descriptor_limit

REPORT_S: Final = 0.5
"""Time between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Measure:
    """To a shard: count what arrives in [start_ns, end_ns), unix time."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Finish:
    """To a shard: close all connections, report and end."""


@dataclass(frozen=True, slots=True)
class Progress:
    """From a shard: where it stands."""

    shard: int
    outcome: Outcome
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """From a shard, last: all it has seen.

    Attributes:
        outcome: before anybody was asked to leave.
        health: whether this process was a bottleneck.
    """

    shard: int
    outcome: Outcome
    observations: Observations
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
    while True:
        monitor.tick(engine.step())
        if pipe.poll():
            match pipe.recv():
                case Measure() as window:
                    engine.measure(window.start_ns, window.end_ns)
                    monitor.measure(window.start_ns, window.end_ns)
                case Finish():
                    break
        if time.monotonic() >= next_report_s:
            next_report_s = time.monotonic() + REPORT_S
            seen = engine.observations
            pipe.send(Progress(shard.number, engine.outcome(), seen.messages, seen.bytes))
    outcome = engine.outcome()
    engine.leave()
    pipe.send(Report(shard.number, outcome, engine.observations, monitor.report()))
