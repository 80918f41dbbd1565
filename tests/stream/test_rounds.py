"""The round clock: everybody once a round, whatever happens to the interval and the ticks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vfctl.stream.rounds import SLOTS, RoundClock

SECOND_US = 1_000_000


def test_a_tick_serves_a_sixtieth_at_the_stable_interval() -> None:
    clock = RoundClock(SECOND_US, 0)
    sizes = [sum(turn.end - turn.first for turn in clock.advance(tick * SECOND_US // 60)) for tick in range(1, 61)]
    assert set(sizes) <= {15, 16, 17}
    assert SLOTS - 1 <= sum(sizes) <= SLOTS


def test_after_a_long_pause_every_slot_has_one_turn() -> None:
    clock = RoundClock(50_000, 0)
    clock.advance(30_000)
    turns = clock.advance(10 * SECOND_US)
    assert [turn.sequence for turn in turns] == [1, 2]
    assert sum(turn.end - turn.first for turn in turns) == SLOTS


def test_a_new_interval_serves_the_rest_of_the_round_within_it() -> None:
    clock = RoundClock(SECOND_US, 0)
    first = clock.advance(SECOND_US // 4)
    clock.interval_us = 50_000
    rest = clock.advance(SECOND_US // 4 + 50_000)
    assert first[0].end == rest[0].first
    assert rest[0].sequence == 1
    assert rest[0].end == SLOTS


def test_a_clock_that_goes_back_serves_nobody_twice() -> None:
    clock = RoundClock(50_000, 1000)
    clock.advance(26_000)
    assert clock.advance(10_000) == []
    assert clock.advance(26_000) == []


steps = st.lists(
    st.tuples(st.integers(0, 3 * SECOND_US), st.sampled_from([50_000, 100_000, 333_333, SECOND_US])), max_size=60
)


@given(steps)
def test_no_turn_is_left_out_or_taken_twice(steps: list[tuple[int, int]]) -> None:
    clock = RoundClock(50_000, 0)
    now_us = 0
    expected = (1, 0)
    for elapsed_us, interval_us in steps:
        now_us += elapsed_us
        turns = clock.advance(now_us)
        for turn in turns:
            assert (turn.sequence, turn.first) == expected
            assert turn.first < turn.end <= SLOTS
            expected = (turn.sequence, turn.end) if turn.end < SLOTS else (turn.sequence + 1, 0)
        assert sum(turn.end - turn.first for turn in turns) <= SLOTS
        clock.interval_us = interval_us
    assert clock.sequence == expected[0]
