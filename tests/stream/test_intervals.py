"""The round clock: everybody once a round, whatever happens to the interval and the ticks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vfctl.stream.intervals import SLOTS, IntervalClock

SECOND_US = 1_000_000


def test_a_tick_serves_a_sixtieth_at_the_stable_interval() -> None:
    clock = IntervalClock(SECOND_US, 0)
    sizes = [sum(turn.end - turn.first for turn in clock.advance(tick * SECOND_US // 60)) for tick in range(1, 61)]
    assert set(sizes) <= {15, 16, 17}
    assert SLOTS - 1 <= sum(sizes) <= SLOTS


def test_after_a_long_pause_every_slot_is_due_once() -> None:
    clock = IntervalClock(50_000, 0)
    clock.advance(30_000)
    turns = clock.advance(10 * SECOND_US)
    assert [turn.sequence for turn in turns] == [1, 2]
    assert sum(turn.end - turn.first for turn in turns) == SLOTS


def test_a_new_length_serves_the_rest_of_the_interval_within_it() -> None:
    clock = IntervalClock(SECOND_US, 0)
    first = clock.advance(SECOND_US // 4)
    clock.interval_us = 50_000
    rest = clock.advance(SECOND_US // 4 + 50_000)
    assert first[0].end == rest[0].first
    assert rest[0].sequence == 1
    assert rest[0].end == SLOTS


def test_a_clock_that_goes_back_serves_no_slot_twice() -> None:
    clock = IntervalClock(50_000, 1000)
    clock.advance(26_000)
    assert clock.advance(10_000) == []
    assert clock.advance(26_000) == []


steps = st.lists(
    st.tuples(st.integers(0, 3 * SECOND_US), st.sampled_from([50_000, 100_000, 333_333, SECOND_US])), max_size=60
)


@given(steps)
def test_no_slot_is_left_out_or_served_twice(steps: list[tuple[int, int]]) -> None:
    clock = IntervalClock(50_000, 0)
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


# --- rounds that follow recorded states


def test_an_interval_that_is_begun_takes_two_ticks_and_then_waits() -> None:
    """Whatever the time: a tick that comes a little early or late serves the same slots."""
    for ticks_us in ((0, 12_000), (3_000, 24_000)):
        clock = IntervalClock(50_000, 0)
        clock.begin_interval(0, 2, 600_000)
        turns = [(turn.sequence, turn.first, turn.end) for tick_us in ticks_us for turn in clock.advance(tick_us)]
        assert turns == [(2, 0, SLOTS // 2), (2, SLOTS // 2, SLOTS)]
        assert clock.advance(599_999) == []
        assert clock.is_waiting


def test_the_next_interval_first_serves_the_rest_of_the_one_before() -> None:
    clock = IntervalClock(50_000, 0)
    clock.begin_interval(0, 2, 600_000)
    clock.advance(0)
    (left,) = clock.begin_interval(13_000, 2, 600_000)
    assert (left.sequence, left.first, left.end) == (2, SLOTS // 2, SLOTS)
    assert clock.sequence == 3


def test_without_a_next_interval_the_clock_continues_by_itself() -> None:
    clock = IntervalClock(50_000, 0)
    clock.begin_interval(0, 2, 600_000)
    clock.advance(0)
    clock.advance(16_000)
    clock.interval_us = SECOND_US
    first = clock.advance(600_000)
    assert not clock.is_waiting
    assert {turn.sequence for turn in first} == {3}
    rest = clock.advance(600_000 + SECOND_US)
    assert sum(turn.end - turn.first for turn in first + rest if turn.sequence == 3) == SLOTS


@given(st.lists(st.lists(st.integers(0, 60_000), max_size=4), max_size=30), st.integers(1, 7))
def test_every_slot_has_each_recorded_state_exactly_once(states: list[list[int]], parts: int) -> None:
    clock = IntervalClock(50_000, 0)
    served, now_us = [], 0
    for ticks in [*states, []]:
        served += clock.begin_interval(now_us, parts, 600_000)
        for elapsed_us in ticks:
            now_us += elapsed_us
            served += clock.advance(now_us)
    served += clock.begin_interval(now_us, parts, 600_000)
    by_round: dict[int, int] = {}
    for turn in served:
        assert by_round.get(turn.sequence, 0) == turn.first
        by_round[turn.sequence] = turn.end
    assert list(by_round) == list(range(1, len(states) + 3))  # the round before the first of them is finished, too
    assert set(by_round.values()) == {SLOTS}
