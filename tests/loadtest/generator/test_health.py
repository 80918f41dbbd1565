"""The verdict on the generator itself."""

from __future__ import annotations

import numpy as np

from vfctl.loadtest.generator.health import GeneratorVerdict, Health, HealthMonitor, judge_generator
from vfctl.loadtest.generator.observations import Observations


def health(cpu_s: float) -> Health:
    return Health(0, wall_s=10.0, cpu_s=cpu_s)


def test_a_generator_with_time_to_spare_is_valid() -> None:
    assert judge_generator([health(8.9), health(1.0)], 0) == GeneratorVerdict("valid")


def test_a_busy_process_or_a_full_buffer_is_not_and_says_what_to_change() -> None:
    for verdict in (judge_generator([health(9.5), health(1.0)], 0), judge_generator([health(1.0)], 3)):
        assert verdict.text == "generator saturated"
        assert "fewer clients" in verdict.advice


def test_only_the_measured_window_counts() -> None:
    now_ns = 1_000
    monitor = HealthMonitor(0, lambda: now_ns)
    monitor.tick(5.0)
    monitor.measure(1_000, 2_000)
    monitor.tick(0.25)
    now_ns = 2_000
    monitor.tick(7.0)
    report = monitor.report()
    assert (report.lag.count, report.lag.max_us) == (1, 250_000)


def test_observations_merge_everything_they_count() -> None:
    one, other = Observations(messages=1, gaps=2, wrong=3), Observations(messages=10, gaps=20, full_buffers=5)
    one.record(5, 6)
    other.record(7, 8)
    other.record_corrected(9)
    one.merge(other)
    assert (one.messages, one.gaps, one.wrong, one.full_buffers) == (11, 22, 3, 5)
    assert (one.latency.count, one.latency_user.max_us, one.latency_corrected.max_us) == (2, 8, 9)
    assert np.isclose(one.latency.mean_us(), 6)
