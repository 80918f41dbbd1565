"""The fold of progress messages: the seconds of a run, independent of when messages arrive."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vfctl.loadtest.control.progress import ProgressFold
from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.generator.shard_process import Progress
from vfctl.loadtest.results.model import SecondMetrics
from vfctl.metrics import LatencyHistogram


def second(*values: object) -> SecondMetrics:
    return SecondMetrics.model_validate(dict(zip(SecondMetrics.model_fields, values, strict=True)))


def progress(
    shard: int, at_s: float, messages: int, *latencies_us: int, stage: int = 0, connected: int = 5, cpu_s: float = 0.0
) -> Progress:
    recent = LatencyHistogram()
    recent.record(np.array(latencies_us, np.int64))
    outcome = Outcome(5, connected)
    return Progress(shard, at_s, stage, outcome, messages, messages * 100, recent, Counter(), None, cpu_s)


def started(shards: int = 1) -> ProgressFold:
    fold = ProgressFold(100.0, frozenset(range(shards)))
    fold.begin_stage("ramp", 100.0, None)
    fold.begin_stage("hold", 100.5, 101.0)
    return fold


def test_a_second_has_its_rates_percentiles_clients_and_cpu() -> None:
    fold = started()
    for number in range(5):
        stage = int(number >= 3)
        fold.add(progress(0, 100 + number / 2, 50 * number, 1000 * number, stage=stage, cpu_s=0.1 * number))
    assert fold.finish() == (
        second(0, "ramp", False, 5, 100.0, 10_000.0, 1.0, 2.0, 2.0, 20.0),
        second(1, "hold", True, 5, 100.0, 10_000.0, 3.001, 4.0, 4.0, 20.0),
    )


def test_a_second_of_which_a_part_was_not_measured_is_not_measured() -> None:
    """Between a ramp and the measured time the last graphs still arrive. They are not part of the metrics."""
    fold = ProgressFold(100.0, frozenset({0}))
    fold.begin_stage("ramp", 100.0, None)
    fold.begin_stage("hold", 101.6, 102.1)
    fold.begin_stage("again", 104.3, 104.3)
    for number in range(13):
        fold.add(progress(0, 100 + number / 2, number, 1000, stage=(number > 2) + (number > 8)))
    found = [(second.stage, second.measured) for second in fold.finish()]
    assert found == [
        ("ramp", False),
        ("hold", False),
        ("hold", False),
        ("hold", True),
        ("again", True),
        ("again", True),
    ]


def test_a_run_that_begins_with_measured_time_is_measured_from_its_first_second() -> None:
    fold = ProgressFold(100.0, frozenset({0}))
    fold.begin_stage("hold", 100.002, 100.002)
    for number in range(5):
        fold.add(progress(0, 100 + number / 2, number))
    assert [second.measured for second in fold.finish()] == [True, True]


def test_messages_that_do_not_fall_on_seconds_are_spread_over_them() -> None:
    """A steady stream has a steady rate, wherever the messages lie."""
    fold = started()
    for number in range(30):
        at_s = 100.13 + number * 0.61
        fold.add(progress(0, at_s, round(1000 * (at_s - 100)), 5000))
    seconds = fold.finish()
    assert len(seconds) == 18
    assert [second.messages_per_s for second in seconds[1:]] == [pytest.approx(1000, rel=0.01)] * 17
    assert all(second.p50_ms == pytest.approx(5, rel=0.01) for second in seconds)


def test_a_second_waits_for_the_slowest_shard() -> None:
    fold = started(2)
    for number in range(9):
        fold.add(progress(0, 100 + number / 2, 10 * number, 1000))
    assert not fold.seconds, "the other shard may still report on each of them"
    for number in range(9):
        fold.add(progress(1, 100.1 + number / 2, 10 * number, 9000, connected=3))
    seconds = fold.finish()
    assert [second.t_s for second in seconds] == [0, 1, 2, 3]
    assert {second.connected for second in seconds} == {8}
    assert all(second.messages_per_s == pytest.approx(40, abs=3) for second in seconds)
    assert {second.p50_ms for second in seconds} == {1.0}
    assert all(second.p99_ms == pytest.approx(9, rel=0.01) for second in seconds)


def test_a_second_without_a_sample_has_no_percentile_and_one_without_a_report_has_zeros() -> None:
    fold = started()
    fold.add(progress(0, 100.0, 0, connected=0))
    fold.add(progress(0, 100.5, 0, connected=0))
    fold.add(progress(0, 103.6, 0))
    first, *_, last = fold.finish()
    assert (first.p50_ms, first.messages_per_s) == (None, 0.0)
    assert (last.t_s, last.connected) == (3, 5), "more than half of the last second was seen"


def test_a_short_last_second_is_left_out() -> None:
    fold = started()
    for number in range(5):
        fold.add(progress(0, 100 + number * 0.6, 60 * number))
    assert [(second.t_s, second.messages_per_s) for second in fold.finish()] == [(0, 100.0), (1, 100.0)]


def test_a_run_without_messages_of_every_shard_has_no_seconds() -> None:
    assert started(2).finish() == ()
    fold = started(2)
    fold.add(progress(0, 105.0, 10))
    assert fold.finish() == ()


def test_a_second_is_complete_as_soon_as_all_shards_have_reported_past_it() -> None:
    """So memory is bounded: complete seconds keep no histogram."""
    fold = started()
    for number in range(200):
        fold.add(progress(0, 100 + number / 2, number, 1000))
        assert len(fold.seconds) == number // 2
