"""When heartbeats are sent, and the server's clock from their replies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vfctl.loadtest.generator.heartbeats import MAX_SAMPLE_AGE_S, ClockFilter, ClockSample, clock_sample, correction_us


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_true_offset_is_within_the_error(offset_us: int, there_us: int, back_us: int) -> None:
    sent_us = 10**12
    sample = clock_sample(sent_us, sent_us + there_us + offset_us, sent_us + there_us + back_us)
    assert abs(sample.offset_us - offset_us) <= sample.error_us


def test_the_shortest_round_trip_of_the_last_minute_is_the_best() -> None:
    clock = ClockFilter()
    assert clock.best(0) is None
    clock.add(ClockSample(100, 7), 0)
    clock.add(ClockSample(300, 9), 10)
    assert clock.best(10) == ClockSample(100, 7)
    assert clock.best(MAX_SAMPLE_AGE_S + 5) == ClockSample(300, 9)
    assert clock.best(MAX_SAMPLE_AGE_S + 50) is None


def test_our_own_clock_is_not_corrected_by_noise() -> None:
    assert correction_us(None, local=False) == 0
    assert correction_us(ClockSample(100, 60), local=True) == 0
    assert correction_us(ClockSample(100, 60), local=False) == 60
    assert correction_us(ClockSample(100, 5_000_000), local=True) == 5_000_000  # the near end of a tunnel
