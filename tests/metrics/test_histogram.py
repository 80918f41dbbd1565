"""The histogram against exact percentiles and against HdrHistogram itself."""

from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from vfctl.metrics import LatencyHistogram
from vfctl.metrics.histogram import MAX_US

values = st.lists(st.integers(0, MAX_US), min_size=1, max_size=200)


def recorded(samples: list[int]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    histogram.record(np.array(samples, np.int64))
    return histogram


@given(values, st.sampled_from([0.1, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0]))
def test_percentiles_are_exact_to_three_digits(samples: list[int], percent: float) -> None:
    exact = sorted(samples)[max(1, int(np.ceil(percent / 100 * len(samples)))) - 1]
    got = recorded(samples).percentile_us(percent)
    assert exact <= got <= exact * 1.001


@given(values)
def test_agrees_with_hdrhistogram(samples: list[int]) -> None:
    reference = HdrHistogram(1, MAX_US, 3)
    for sample in samples:
        reference.record_value(sample)
    ours = recorded(samples)
    for rank in {1, len(samples) // 2 or 1, len(samples)}:
        percent = 100 * rank / len(samples)  # a whole rank: HdrHistogram rounds others to the nearest, we go up
        # HdrHistogram gives the upper edge of the bucket, we cut that to the largest value seen.
        expected = min(reference.get_value_at_percentile(percent), max(samples))
        assert ours.percentile_us(percent) == expected


@given(values, values)
def test_merging_is_recording_both(one: list[int], other: list[int]) -> None:
    merged = recorded(one)
    merged.merge(recorded(other))
    assert merged.summary() == recorded(one + other).summary()


def test_merging_with_an_empty_one_changes_nothing() -> None:
    histogram = recorded([5, 7])
    histogram.merge(LatencyHistogram())
    assert histogram.summary() == recorded([5, 7]).summary()
    empty = LatencyHistogram()
    empty.merge(recorded([5, 7]))
    assert empty.summary() == recorded([5, 7]).summary()


def test_an_empty_histogram_has_no_percentiles() -> None:
    histogram = LatencyHistogram()
    assert histogram.summary().count == 0
    assert histogram.summary().p95 is None
    with pytest.raises(ValueError, match="empty"):
        histogram.percentile_us(95)
    with pytest.raises(ValueError, match="empty"):
        histogram.mean_us()


def test_beyond_the_range_the_maximum_stays_exact_and_negatives_show() -> None:
    histogram = recorded([-3, 10, 2 * MAX_US])
    summary = histogram.summary()
    assert summary.count == 3
    assert summary.min == -0.003
    assert summary.max == 2 * MAX_US / 1000
    assert summary.p50 == 0.01
