"""Results to report of, without a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vfctl.errors import VfctlError
from vfctl.loadtest.generator.health import Health
from vfctl.loadtest.generator.observations import ConnectStats, Observations, Outcome
from vfctl.loadtest.reports.as_html import render
from vfctl.loadtest.results.gate_verdicts import judged
from vfctl.loadtest.results.model import LoadtestResults, SecondMetrics
from vfctl.loadtest.scenario.gates import parse_gate

GATES = ("latency_ms.p95 < 30", "latency_ms.p99 < 0.1", "voice_ms.p95 < 200")
"""One that holds, one that does not, one without data."""

MakeReportable = Callable[..., LoadtestResults]


def a_second(t_s: int, *, stage: str = "hold", measured: bool = True) -> SecondMetrics:
    swing = 1 + 0.3 * math.sin(t_s / 2)
    connected = min(300, 100 * (t_s + 1))
    latencies_ms = (2 * swing, 3.5 * swing, 5 * swing)
    values = (t_s, stage, measured, connected, 6000 * swing, 5.3e7 * swing, *latencies_ms, 5.2 * swing)
    return SecondMetrics(**dict(zip(SecondMetrics.model_fields, values, strict=True)))


@pytest.fixture
def reportable(measure: Callable[..., Any]) -> MakeReportable:
    def make(
        *,
        seconds: int = 12,
        saturated: bool = False,
        failure: VfctlError | None = None,
        latencies_us: tuple[int, int] = (700, 2000),
        **more: Any,
    ) -> LoadtestResults:
        """`latencies_us`: the mean of what is added, exponentially distributed, and the least."""
        more_us, least_us = latencies_us
        random = np.random.default_rng(1)
        seen = Observations(messages=20_000, bytes=10**8, frames=20_000, gaps=3)
        values_us = (least_us + random.exponential(more_us, 20_000)).astype(np.int64)
        seen.record_updates(10**8, values_us, values_us + 500, values_us * 2)
        connects = ConnectStats()
        connects.connect.record((500 + random.exponential(800, 300)).astype(np.int64))
        connects.errors["connection reset"] = 3
        ramp = [a_second(t_s, stage="ramp", measured=False) for t_s in range(min(3, seconds))]
        hold = [a_second(t_s) for t_s in range(len(ramp), seconds)]
        results: LoadtestResults = measure(
            seen,
            outcome=Outcome(300, 297, failed=1, lost=2),
            health=Health(0, wall_s=10.0, cpu_s=9.9 if saturated else 0.5),
            connects=connects,
            seconds=(*ramp, *hold),
            began_unix_s=1_700_000_000.0,
            failure=failure,
            **more,
        ).results
        return results

    return make


def with_gates(results: LoadtestResults, *gates: str) -> LoadtestResults:
    return judged(results, [parse_gate(gate) for gate in gates or GATES])


def page_of(results: LoadtestResults, *gates: str) -> str:
    return render(with_gates(results, *gates))
