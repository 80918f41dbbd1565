"""Abort gates, with the time passed in."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vfctl.loadtest.control.abort import AbortWatch
from vfctl.loadtest.control.progress import StageProgress
from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.generator.shard_process import Progress
from vfctl.loadtest.results.model import GateVerdict, OlderResults
from vfctl.loadtest.scenario.gates import parse_abort_gate
from vfctl.metrics import LatencyHistogram


def progress(at_s: float, latency_ms: float, messages: int = 0, *, failed: int = 0) -> Progress:
    recent = LatencyHistogram()
    recent.record(np.full(10, int(1000 * latency_ms)))
    outcome = Outcome(10, 10 - failed, failed)
    return Progress(0, at_s, 1, outcome, messages, 100 * messages, recent, Counter(), None)


class Run:
    """A measured stage that begins at 100 s, for one or two servers, with its abort gates."""

    def __init__(self, *expressions: str, baseline: OlderResults | None = None, servers: int = 1) -> None:
        self.watch = AbortWatch([parse_abort_gate(expression) for expression in expressions], baseline)
        self.watch.begin_stage(100.0)
        self.stages = [StageProgress(100.0) for _ in range(servers)]

    def failed_gate(self, now_s: float) -> GateVerdict | None:
        return self.watch.failed_gate(now_s, self.stages)


def test_a_gate_is_judged_after_its_time_and_ends_the_run() -> None:
    run = Run("latency_ms.p95 < 200ms after 2s")
    for half in range(5):
        run.stages[0].add(progress(100.2 + half / 2, 300))
        assert run.failed_gate(100.2 + half / 2) is None or half == 4
    verdict = run.failed_gate(103.0)
    assert verdict is not None
    assert (verdict.value, verdict.passed, verdict.limit) == (pytest.approx(300, rel=0.01), False, 200)


def test_messages_before_the_measured_time_do_not_count() -> None:
    run = Run("latency_ms.p95 < 200 after 1s")
    run.stages[0].add(progress(99.9, 9000))
    run.stages[0].add(progress(100.4, 9000))
    run.stages[0].add(progress(100.9, 1))
    assert run.failed_gate(101.5) is None


def test_no_data_ends_the_run() -> None:
    verdict = Run("latency_ms.p95 < 200 after 1s").failed_gate(101.1)
    assert verdict is not None
    assert verdict.reason == "no data"


def test_clients_rates_and_baselines() -> None:
    run = Run(
        "clients.failed == 0 after 1s",
        "throughput.messages_per_s > 5 after 1s",
        "latency_ms.p50 < 2 * baseline after 1s",
        baseline=OlderResults(schema="vfctl.loadtest/2", url="ws://x/ws", latency_ms={"p50": 4.0}),
    )
    run.stages[0].add(progress(100.0, 5, 0))
    run.stages[0].add(progress(101.0, 5, 10))
    assert run.failed_gate(101.2) is None
    run.stages[0].add(progress(102.0, 5, 11, failed=1))
    verdict = run.failed_gate(102.2)
    assert verdict is not None
    assert verdict.expression.startswith("clients.failed")


def test_of_two_servers_the_first_is_the_baseline_of_the_second() -> None:
    gates = ("a.latency_ms.p50 < 8 after 1s", "latency_ms.p50 < 2 * baseline after 1s")
    run = Run(*gates, servers=2)
    for at_s, second_ms in ((100.0, 9), (100.9, 90), (102.0, 90)):
        run.stages[0].add(progress(at_s, 5, 10))
        run.stages[1].add(progress(at_s, second_ms, 10))
        verdict = run.failed_gate(at_s + 0.2)
    assert verdict is not None
    assert (verdict.expression, verdict.limit) == (gates[1], pytest.approx(10, rel=0.01))


def test_an_unmeasured_stage_is_not_judged() -> None:
    run = Run("latency_ms.p95 < 200 after 1s")
    run.watch.begin_stage(None)
    assert run.failed_gate(1000.0) is None
