"""From what the generators have observed to the results of a load test."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from vfctl import __version__
from vfctl.errors import PeerError, VfctlError
from vfctl.loadtest.generator.health import Health, judge_generator
from vfctl.loadtest.generator.heartbeats import ClockSample
from vfctl.loadtest.generator.observations import (
    ConnectStats,
    LatencyWindows,
    Observations,
    Outcome,
    StageObservations,
    merged,
)
from vfctl.loadtest.generator.shard_process import Report
from vfctl.loadtest.results.model import (
    Block,
    Clients,
    Clock,
    Environment,
    Frames,
    GateVerdict,
    Generator,
    Lag,
    Latency,
    LoadtestResults,
    Plan,
    RoleMetrics,
    Run,
    SecondMetrics,
    Stage,
    Throughput,
)
from vfctl.loadtest.scenario.model import Scenario
from vfctl.loadtest.scenario.roles import Role
from vfctl.loadtest.scenario.stages import Step
from vfctl.metrics import LatencyHistogram

_KINDS_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class FinishedStage:
    """A stage that has ended.

    Attributes:
        step: what it was.
        duration_s: how long it took; of a measured one, the measured time.
    """

    step: Step
    duration_s: float


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What is known of one server when all stages have ended.

    Attributes:
        stages: those that have begun.
        reports: one of each generator process.
        interrupted: somebody has ended the run early.
        clock: the best sample of the server's clock; None if it answered no heartbeat.
        offset_us: what latencies were corrected by in the end.
        seconds: the run second by second.
        aborted: the gate that has ended the run early; None if none has.
        began_unix_s: when the run began, unix time.
        failure: what has gone wrong with the run itself, not with a client; None if nothing has.
    """

    stages: Sequence[FinishedStage]
    reports: Sequence[Report]
    interrupted: bool
    clock: ClockSample | None
    offset_us: int
    seconds: Sequence[SecondMetrics] = ()
    aborted: GateVerdict | None = None
    began_unix_s: float = 0.0
    failure: VfctlError | None = None


class NobodyConnectedError(PeerError):
    """At the end of a run no client was connected. The run itself has not failed: a gate that fails says more."""


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run, measured.

    Attributes:
        results: gates are not judged yet.
        failure: the error that the run ended with; None if it went to its end.
    """

    results: LoadtestResults
    failure: VfctlError | None


def build_results(url: str, peer: str, scenario: Scenario, run: FinishedRun) -> MeasuredRun:
    """Merge the reports of all generator processes into results.

    Args:
        url: where the clients connected to.
        peer: who answered there, for people.
        scenario: what was asked for.
    """
    roles = scenario.roles
    stages = [_all_shards(parts) for parts in zip(*(report.stages for report in run.reports), strict=True)]
    finished = run.stages[: len(stages)]  # none, if no generator could report
    measured = [number for number, stage in enumerate(finished) if stage.step.measured]
    duration_s = sum(finished[number].duration_s for number in measured)
    last = stages[measured[-1] if measured else -1] if stages else StageObservations([Outcome()] * len(roles), [])
    outcome = sum(last.outcomes, Outcome())
    by_role = [merged(stages[number].roles[index] for number in measured) for index in range(len(roles))]
    headline = _attentive(roles, by_role)
    connects = ConnectStats()
    for report in run.reports:
        connects.merge(report.connects)
    failure = _failure(run, outcome, connects.errors)
    return MeasuredRun(
        LoadtestResults(
            schema="vfctl.loadtest/3",
            url=url,
            peer=peer,
            began_at=datetime.fromtimestamp(run.began_unix_s, UTC).isoformat(timespec="seconds"),
            interrupted=run.interrupted,
            aborted=run.aborted,
            failure=None if failure is None else failure.message,
            scenario=Plan.model_validate(scenario.described()),
            **_part(outcome, headline, merged(by_role), duration_s),
            duration_s=round(duration_s, 3),
            latency_clock="user" if headline.user_space_stamps else "kernel",
            clock=_clock(run),
            voice_ms=Latency.of(headline.voice),
            connect_ms=Latency.of(connects.connect),
            reconnect_ms=Latency.of(connects.reconnect),
            stages=[_stage(roles, seen, stage) for seen, stage in zip(stages, finished, strict=True)],
            roles={
                role.label: _role(role, seen, duration_s, ended)
                for role, seen, ended in zip(roles, by_role, last.outcomes, strict=True)
            },
            generator=_generator([report.health for report in run.reports], headline.full_buffers),
            errors=dict(connects.errors.most_common()),
            seconds=list(run.seconds),
            gates=[],
            environment=_environment(),
            runs=[_histograms(headline, connects, stages, finished)],
            spread=None,
        ),
        failure,
    )


def not_run(url: str, scenario: Scenario, failure: VfctlError | None) -> MeasuredRun:
    """The results of a run that has not begun: none, and why; None if it was interrupted."""
    run = FinishedRun([], [], failure is None, None, 0, began_unix_s=time.time(), failure=failure)
    return build_results(url, "unknown", scenario, run)


def _failure(run: FinishedRun, outcome: Outcome, errors: Counter[str]) -> VfctlError | None:
    if run.failure is not None or run.interrupted or run.aborted is not None:
        return run.failure
    if errors and outcome.failed + outcome.lost and not outcome.connected + outcome.away:
        what = "is connected any more" if outcome.lost else "could connect"
        kinds = ", ".join(f"{count:,} × {reason}" for reason, count in errors.most_common(_KINDS_SHOWN))
        return NobodyConnectedError(f"no client {what}: {kinds}")
    return None


def _all_shards(parts: Sequence[StageObservations]) -> StageObservations:
    """One stage, as all generator processes have seen it."""
    outcomes = [sum(same_role, Outcome()) for same_role in zip(*(part.outcomes for part in parts), strict=True)]
    windows = LatencyWindows()
    for part in parts:
        windows.merge(part.windows)
    return StageObservations(
        outcomes, [merged(same) for same in zip(*(part.roles for part in parts), strict=True)], windows
    )


def _attentive(roles: Sequence[Role], by_role: Sequence[Observations]) -> Observations:
    """Those of clients that read as fast as they can: the others say nothing about the server's latency."""
    return merged(seen for seen, role in zip(by_role, roles, strict=True) if role.attentive)


def _stage(roles: Sequence[Role], seen: StageObservations, stage: FinishedStage) -> Stage:
    return Stage(
        name=stage.step.name,
        kind=stage.step.kind,
        measured=stage.step.measured,
        duration_s=round(stage.duration_s, 3),
        **_part(sum(seen.outcomes, Outcome()), _attentive(roles, seen.roles), merged(seen.roles), stage.duration_s),
    )


def _role(role: Role, seen: Observations, duration_s: float, outcome: Outcome) -> RoleMetrics:
    return RoleMetrics(role=role.role, voice_ms=Latency.of(seen.voice), **_part(outcome, seen, seen, duration_s))


def _part(outcome: Outcome, attentive: Observations, everyone: Observations, duration_s: float) -> dict[str, Any]:
    """The attributes of a `Part`: latencies and frames of attentive clients, throughput of all."""
    per_s = 1 / duration_s if duration_s > 0 else 0.0
    served = outcome.connected + outcome.lost + outcome.away
    per_client = 1 / served if served else 0.0
    return {
        "clients": Clients.model_validate(outcome, from_attributes=True),
        "latency_ms": Latency.of(attentive.latency),
        "latency_user_ms": Latency.of(attentive.latency_user),
        "latency_corrected_ms": Latency.of(attentive.latency_corrected),
        "throughput": Throughput(
            messages_per_s=round(everyone.messages * per_s, 1),
            bytes_per_s=round(everyone.bytes * per_s, 1),
            bytes_per_s_per_client=round(everyone.bytes * per_s * per_client, 1),
            messages_per_s_per_client=round(everyone.messages * per_s * per_client, 3),
        ),
        "frames": Frames(
            received=attentive.frames,
            **{name: getattr(attentive, name) for name in Frames.model_fields if name != "received"},
        ),
    }


def _clock(run: FinishedRun) -> Clock:
    best = run.clock
    return Clock(
        corrected_by_ms=run.offset_us / 1000,
        offset_ms=None if best is None else round(best.offset_us / 1000, 3),
        error_ms=None if best is None else round(best.error_us / 1000, 3),
    )


def _generator(healths: Sequence[Health], full_buffers: int) -> Generator:
    lag = LatencyHistogram()
    for health in healths:
        lag.merge(health.lag)
    verdict = judge_generator(healths, full_buffers)
    return Generator(
        verdict=verdict.text,
        advice=verdict.advice,
        processes=len(healths),
        cpu_percent=round(sum(health.cpu_percent for health in healths), 1),
        cpu_percent_max=round(max((health.cpu_percent for health in healths), default=0.0), 1),
        lag_ms=Lag.model_validate(lag.summary(), from_attributes=True),
        full_buffers=full_buffers,
    )


def _histograms(
    headline: Observations,
    connects: ConnectStats,
    stages: Sequence[StageObservations],
    finished: Sequence[FinishedStage],
) -> Run:
    """All latencies that were counted, for comparisons and plots."""
    return Run(
        histograms={
            "latency_ms": headline.latency.encoded(),
            "latency_user_ms": headline.latency_user.encoded(),
            "latency_corrected_ms": headline.latency_corrected.encoded(),
            "voice_ms": headline.voice.encoded(),
            "connect_ms": connects.connect.encoded(),
            "reconnect_ms": connects.reconnect.encoded(),
        },
        blocks=[
            Block(
                stage=stage.step.name,
                width_s=seen.windows.width_s,
                latency_ms=[each.encoded() for each in seen.windows.histograms],
            )
            for seen, stage in zip(stages, finished, strict=True)
            if stage.step.measured
        ],
    )


def _environment() -> Environment:
    return Environment(
        vfctl=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpus=os.cpu_count(),
    )
