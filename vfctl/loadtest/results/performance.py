"""What a finished run hands over: its stages, the generators' reports, and the run second by second."""

from __future__ import annotations

from dataclasses import dataclass

from vfctl.errors import VfctlError
from vfctl.loadtest.generator.heartbeats import ClockSample
from vfctl.loadtest.generator.shard_process import Report
from vfctl.loadtest.scenario.gates import Verdict
from vfctl.loadtest.scenario.stages import Step


@dataclass(frozen=True, slots=True)
class Played:
    """A stage that has begun.

    Attributes:
        step: the stage.
        duration_s: how long it took; for a measured stage, the measured time.
    """

    step: Step
    duration_s: float


@dataclass(frozen=True, slots=True)
class Second:
    """One second of a run.

    Attributes:
        t_s: when it began, since the run did.
        stage: the name of the stage that it ended in.
        measured: all of it is measured time.
        connected: clients, at its end.
        messages_per_s, bytes_per_s: received, of all roles; bytes with framing.
        p50_ms, p95_ms, p99_ms: latency, of clients that read as fast as they can; None without a sample.
        cpu_percent: of one core, all generator processes.
    """

    t_s: int
    stage: str
    measured: bool
    connected: int
    messages_per_s: float
    bytes_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class Performance:
    """How a run went.

    Attributes:
        played: the stages that have begun.
        reports: one per shard.
        interrupted: the user ended the run early.
        clock: the best sample of the server's clock; None if the server answered no heartbeat.
        offset_us: the clock offset that latencies were corrected by at the end.
        seconds: the run second by second.
        aborted: the verdict of the gate that ended the run early; None if none did.
        began_unix_s: when the run began, unix time.
        failure: what went wrong with the run itself, not with a client; None if nothing did.
    """

    played: list[Played]
    reports: list[Report]
    interrupted: bool
    clock: ClockSample | None
    offset_us: int
    seconds: tuple[Second, ...] = ()
    aborted: Verdict | None = None
    began_unix_s: float = 0.0
    failure: VfctlError | None = None
