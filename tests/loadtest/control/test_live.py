"""What a display is told, from reports and a fake clock."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vfctl.loadtest.control.live import Live
from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.generator.shard_process import Progress
from vfctl.loadtest.scenario.stages import Step
from vfctl.metrics import LatencyHistogram

STEPS = [Step("ramp", "ramp", False, 10, 1.0, 1.0), Step("hold", "hold", True, 10, 0.0, 30.0)]


def progress(shard: int, at_s: float, stage: int, messages: int, *latencies_us: int, errors: int = 0) -> Progress:
    recent = LatencyHistogram()
    recent.record(np.array(latencies_us, np.int64))
    counted = Counter({"connection refused": errors} if errors else {})
    return Progress(shard, at_s, stage, Outcome(5, 4, connecting=1), messages, messages * 100, recent, counted, None)


def test_rates_and_percentiles_are_of_the_last_second_and_the_stage() -> None:
    live = Live(STEPS, 2)
    live.begin(0, 100.0, 11.0)
    assert live.status(100.0).outcome == Outcome(10), "before anybody has reported, all are expected"
    live.take(progress(0, 100.5, 0, 10, 9000))
    live.take(progress(1, 100.5, 0, 10, 9000, errors=2))
    assert live.heard_from_all
    live.status(101.0)
    live.begin(1, 101.0, 30.0)
    assert not live.heard_from_all, "nobody has reported from this stage yet"
    for at_s, latency_us in ((101.0, 1000), (101.5, 3000)):
        live.take(progress(0, at_s, 1, 60, latency_us))
        live.take(progress(1, at_s, 1, 60, latency_us, errors=2))
    status = live.status(102.0)
    assert (status.number, status.count, status.elapsed_s, status.limit_s) == (1, 2, 1.0, 30.0)
    assert (status.messages_per_s, status.bytes_per_s) == (100.0, 10_000.0)
    assert (status.last_second.count, status.last_second.p50) == (4, 1.0)
    assert (status.stage.count, status.stage.max) == (4, 3.0)
    assert status.outcome.connected == 8
    assert status.errors == {"connection refused": 2}
    for at_s in (102.0, 102.5):
        live.take(progress(0, at_s, 1, 60))
        live.take(progress(1, at_s, 1, 60))
    assert live.status(103.0).last_second.count == 0
    assert live.status(103.0).stage.count == 4
    assert live.status(103.0).history == (pytest.approx(9.0, rel=0.01), pytest.approx(3.0, rel=0.01), None)


def test_a_rate_does_not_depend_on_when_reports_happen_to_come_in() -> None:
    """Two reports a second and one look a second: now and then a look sees one report, or three."""
    live = Live(STEPS, 1)
    live.begin(0, 0.0, 11.0)
    rates = []
    for number in range(20):
        live.take(progress(0, number / 2, 0, 500 * number))
        if number % 3 == 2:
            rates.append(live.status(number / 2).messages_per_s)
    assert rates == [pytest.approx(1000)] * 6


def test_who_has_not_reported_is_known_and_without_a_stage_no_time_has_passed() -> None:
    live = Live(STEPS, 3)
    assert live.status(5000.0, finishing=True).elapsed_s == 0.0
    live.begin(0, 5000.0, 11.0)
    live.take(progress(1, 5000.5, 0, 10))
    assert live.silent == {0, 2}
    assert live.status(5001.0).elapsed_s == 1.0
