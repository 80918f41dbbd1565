"""Results to report of, without a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vfctl.errors import VfctlError
from vfctl.loadtest.generator.health import Health
from vfctl.loadtest.generator.observations import Observations, Outcome
from vfctl.loadtest.reports.as_html import curves_of, render
from vfctl.loadtest.results.build import Results
from vfctl.loadtest.results.performance import Second
from vfctl.loadtest.scenario.gates import parse_gate

GATES = ("latency_ms.p95 < 30", "latency_ms.p99 < 0.1", "voice_ms.p95 < 200")
"""One that holds, one that does not, one without data."""

MakeReportable = Callable[..., Results]


def a_second(t_s: int, *, stage: str = "hold", measured: bool = True) -> Second:
    swing = 1 + 0.3 * math.sin(t_s / 2)
    connected = min(300, 100 * (t_s + 1))
    latencies_ms = (2 * swing, 3.5 * swing, 5 * swing)
    return Second(t_s, stage, measured, connected, 6000 * swing, 5.3e7 * swing, *latencies_ms, 5.2 * swing)


@pytest.fixture
def reportable(make_results: Callable[..., Results]) -> MakeReportable:
    def make(
        *,
        interrupted: bool = False,
        seconds: int = 12,
        saturated: bool = False,
        failure: VfctlError | None = None,
        latencies_us: tuple[int, int] = (700, 2000),
        **fields: Any,
    ) -> Results:
        """`latencies_us`: the mean of what is added, exponentially distributed, and the least."""
        more_us, least_us = latencies_us
        random = np.random.default_rng(1)
        seen = Observations(messages=20_000, bytes=10**8, frames=20_000, gaps=3)
        values_us = (least_us + random.exponential(more_us, 20_000)).astype(np.int64)
        seen.record_updates(10**8, values_us, values_us + 500, values_us * 2)
        health = Health(0, wall_s=10.0, cpu_s=9.9 if saturated else 0.5)
        results = make_results(seen, outcome=Outcome(300, 297, failed=1, lost=2), health=health)
        results.connects.connect.record((500 + random.exponential(800, 300)).astype(np.int64))
        results.connects.errors["connection reset"] = 3
        ramp = [a_second(t_s, stage="ramp", measured=False) for t_s in range(min(3, seconds))]
        hold = [a_second(t_s) for t_s in range(len(ramp), seconds)]
        results.performance = replace(
            results.performance,
            interrupted=interrupted,
            failure=failure,
            seconds=(*ramp, *hold),
            began_unix_s=1_700_000_000.0,
        )
        for name, value in fields.items():
            setattr(results, name, value)
        return results

    return make


def document_of(results: Results, *gates: str) -> dict[str, Any]:
    return results.to_json([parse_gate(gate) for gate in gates or GATES])


def page_of(results: Results, *gates: str) -> str:
    return render(document_of(results, *gates), curves_of(results))
