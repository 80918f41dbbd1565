"""Histograms as text: read back whole, and as others read them."""

from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from vfctl.metrics import LatencyHistogram
from vfctl.metrics.histogram import MAX_US, bucket_of, decode_counts, encode_counts, upper_edge_us

VALUES = st.lists(st.integers(0, MAX_US), max_size=50)


@given(VALUES)
def test_nothing_is_lost(values: list[int]) -> None:
    histogram = LatencyHistogram()
    histogram.record(np.array(values, np.int64))
    counts = decode_counts(histogram.encoded())
    expected = np.bincount(bucket_of(np.array(values, np.int64)), minlength=0) if values else np.zeros(0, np.int64)
    assert counts.tolist() == expected.tolist()


def test_another_library_reads_the_same_values() -> None:
    values = np.random.default_rng(1).lognormal(7, 2, 5000).astype(np.int64)
    histogram = LatencyHistogram()
    histogram.record(values)
    theirs = HdrHistogram.decode(histogram.encoded())
    assert theirs.get_total_count() == len(values)
    for percent in (1, 50, 95, 99.9):
        assert theirs.get_value_at_percentile(percent) == pytest.approx(histogram.percentile_us(percent), rel=0.002)


def test_we_read_what_another_library_has_written() -> None:
    theirs = HdrHistogram(1, MAX_US, 3)
    for value in (0, 1, 2047, 2048, 5000, 5000, 1_000_000):
        theirs.record_value(value)
    counts = decode_counts(theirs.encode().decode())
    edges = [upper_edge_us(bucket) for bucket in np.repeat(np.arange(len(counts)), counts).tolist()]
    assert edges == pytest.approx([0, 1, 2047, 2049, 5003, 5003, 1_000_447], abs=64)


@pytest.mark.parametrize("text", ["", "x", "AAAA", "HISTFAAAABB4nJNpmSz", encode_counts(np.ones(9, np.int64), 10)[:-8]])
def test_damaged_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="HdrHistogram"):
        decode_counts(text)
