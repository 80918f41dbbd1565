"""The status of a run, from progress messages and a fake clock."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vfctl.loadtest.control.live import Status, status_of
from vfctl.loadtest.control.progress import ProgressFold
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


def started(shards: int) -> ProgressFold:
    fold = ProgressFold(100.0, frozenset(range(shards)))
    fold.begin_stage("ramp", 100.0, None)
    return fold


def status(fold: ProgressFold, number: int = 0) -> Status:
    return status_of(fold, STEPS, number, elapsed_s=1.0, limit_s=30.0)


def test_rates_and_percentiles_are_of_the_last_second_and_the_stage() -> None:
    fold = started(2)
    assert status(fold).outcome == Outcome(10), "before the first message, all clients are expected"
    fold.add(progress(0, 100.0, 0, 0))
    fold.add(progress(1, 100.0, 0, 0, errors=2))
    assert fold.all_in_stage
    for shard in (0, 1):
        fold.add(progress(shard, 100.5, 0, 10, 9000))
    fold.begin_stage("hold", 101.0, 101.0)
    assert not fold.all_in_stage, "no shard has reported from this stage yet"
    for at_s, messages, latency_us in ((101.0, 20, 9000), (101.5, 45, 1000), (102.0, 70, 3000)):
        fold.add(progress(0, at_s, 1, messages, latency_us))
        fold.add(progress(1, at_s, 1, messages, latency_us, errors=2))
    now = status(fold, 1)
    assert (now.number, now.count, now.elapsed_s, now.limit_s) == (1, 2, 1.0, 30.0)
    assert (now.messages_per_s, now.bytes_per_s) == (100.0, 10_000.0)
    assert (now.last_second.count, now.last_second.p50) == (4, 1.0)
    assert (now.stage.count, now.stage.max) == (4, 3.0)
    assert (now.messages, now.bytes) == (140, 14_000)
    assert now.outcome.connected == 8
    assert now.errors == {"connection refused": 2}
    for at_s in (102.5, 103.0):
        fold.add(progress(0, at_s, 1, 70))
        fold.add(progress(1, at_s, 1, 70))
    assert status(fold, 1).last_second.count == 0
    assert status(fold, 1).stage.count == 4
    assert status(fold, 1).history == (pytest.approx(9.0, rel=0.01), pytest.approx(3.0, rel=0.01), None)


def test_a_rate_does_not_depend_on_when_messages_arrive() -> None:
    """With two messages and one status a second, there are sometimes one or three messages between two statuses."""
    fold = started(1)
    rates = []
    for number in range(21):
        fold.add(progress(0, 100 + number / 2, 0, 500 * number))
        if number % 3 == 2:
            rates.append(status(fold).messages_per_s)
    assert rates == [pytest.approx(1000)] * 7


def test_shards_that_have_not_reported_are_known() -> None:
    fold = started(3)
    assert fold.silent == {0, 1, 2}
    fold.add(progress(1, 100.5, 0, 10))
    assert fold.silent == {0, 2}
    assert status(fold).outcome == Outcome(5, 4, connecting=1)
