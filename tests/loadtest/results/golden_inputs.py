"""Load tests that never ran: fixed observations, from which the golden documents come."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vfctl.errors import PeerError, VfctlError
from vfctl.loadtest.generator.health import Health
from vfctl.loadtest.generator.heartbeats import ClockSample
from vfctl.loadtest.generator.observations import ConnectStats, Observations, Outcome, StageObservations
from vfctl.loadtest.generator.shard_process import Report
from vfctl.loadtest.results.build import FinishedRun, FinishedStage, MeasuredRun, build_results
from vfctl.loadtest.results.model import GateVerdict, SecondMetrics
from vfctl.loadtest.scenario.model import Scenario
from vfctl.loadtest.scenario.roles import SlowReader, Speaker, Viewer
from vfctl.loadtest.scenario.stages import Hold, Ramp, Spike

BEGAN_UNIX_S = 1_700_000_000.0

PLAIN = Scenario(description="what is tested", clients=300, duration_s=10.0, ramp_s=3.0, encoding="compact")
MIXED = Scenario(
    clients=300,
    mix=(Viewer(share=2), Speaker(name="talker"), SlowReader()),
    stages=(Ramp(duration_s=3.0), Hold(duration_s=10.0), Spike(clients=300, measured=True)),
)


def values_us(count: int, seed: int, least_us: int = 2000, more_us: int = 6000) -> np.ndarray:
    """Latencies with a long tail, int64 [count] in µs; the same on every machine."""
    order = np.arange(count, dtype=np.int64) * (7919 + 2 * seed) % 10_007
    return least_us + order * order * more_us // 10_007**2


def observations(count: int, seed: int, *, later_us: int = 0, voice: bool = False, faults: int = 3) -> Observations:
    """What clients of one role have received in a stage."""
    made = Observations(messages=count, bytes=count * 5000, frames=count, gaps=faults, duplicates=1, sampled=40)
    latencies_us = values_us(count, seed) + later_us
    made.record_updates(0, latencies_us, latencies_us + 500, latencies_us * 2)
    made.messages, made.frames = count, count
    if voice:
        for latency_us in values_us(200, seed, 20_000, 90_000).tolist():
            made.record_voice(latency_us)
    made.flush()
    return made


def a_second(t_s: int, stage: str, measured: bool) -> SecondMetrics:
    swing = 1 + 0.3 * math.sin(t_s / 2)
    latencies_ms = [round(each * swing, 3) for each in (2, 3.5, 5)] if t_s else [None] * 3
    rates = round(6000 * swing, 1), round(3.0e7 * swing, 1)
    values = (t_s, stage, measured, min(300, 100 * (t_s + 1)), *rates, *latencies_ms, round(5.2 * swing, 1))
    return SecondMetrics(**dict(zip(SecondMetrics.model_fields, values, strict=True)))


def a_run(
    scenario: Scenario = PLAIN,
    *,
    seed: int = 1,
    later_us: int = 0,
    url: str = "ws://127.0.0.1:8765/ws?timed=1&encoding=compact",
    outcome: Sequence[int] = (300, 297, 1, 2),
    saturated: bool = False,
    interrupted: bool = False,
    failure: VfctlError | None = None,
    aborted: GateVerdict | None = None,
    errors: dict[str, int] | None = None,
    count: int = 20_000,
) -> MeasuredRun:
    """One run of a scenario, all of whose stages were played."""
    stages = []
    for number, step in enumerate(scenario.steps()):
        seen = StageObservations(
            [Outcome(*outcome, connecting=0, reconnects=4)] * len(scenario.roles),
            [
                observations(
                    count if step.measured else 0,
                    seed + number + index,
                    later_us=later_us,
                    voice=role.role == "speaker" and step.measured,
                    faults=3 if step.measured else 0,
                )
                for index, role in enumerate(scenario.roles)
            ],
        )
        if step.measured and count:
            for second in range(6):
                part = Observations()
                made_us = values_us(2000, seed + second) + later_us
                part.record_updates(0, made_us, made_us, made_us)
                part.flush()
                seen.windows.add(second + 1, part.latency)
        stages.append(seen)
    connects = ConnectStats()
    for connect_us in values_us(300, seed, 500, 4000).tolist():
        connects.record(connect_us, 30_000 if connect_us % 50 == 0 else None)
    connects.errors = Counter({"connection reset": 3, "refused | <now>": 1} if errors is None else errors)
    connects.flush()
    health = Health(0, wall_s=10.0, cpu_s=9.9 if saturated else 0.5)
    health.lag.record(values_us(500, seed, 10, 900))
    played = [FinishedStage(step, 3.2 if step.kind == "ramp" else step.lasts_s) for step in scenario.steps()]
    seconds = [a_second(t_s, "ramp" if t_s < 3 else "hold", t_s >= 3) for t_s in range(13)]
    finished = FinishedRun(
        played,
        [Report(0, stages, connects, health)],
        interrupted,
        ClockSample(250.0, 5_000_100.0),
        5_000_100,
        tuple(seconds),
        aborted=aborted,
        began_unix_s=BEGAN_UNIX_S,
        failure=failure,
    )
    return build_results(url, "vfctl 0.1.0, 316 nodes", scenario, finished)


ABORTED = GateVerdict(expression="latency_ms.p95 < 1ms after 2s", value=4.25, passed=False, limit=1.0, reason="")
DIED = PeerError("the `server` died <of fright>")


def changed(model: Any, **changes: Any) -> Any:
    """A copy with other values, by path with `__` between the names: `clients__target=6`."""
    for path, value in changes.items():
        name, _, rest = path.partition("__")
        model = model.model_copy(update={name: changed(getattr(model, name), **{rest: value}) if rest else value})
    return model
