"""When a gateway is started again, or ended because it hangs. The clock is the test's."""

from __future__ import annotations

from vfctl.server.process.restarts import (
    HANG_TIMEOUT_S,
    MIN_HANG_POLLS,
    RESTART_DELAYS_S,
    RESTART_WINDOW_S,
    HangDetector,
    RestartPolicy,
)


def test_the_first_restart_is_at_once_and_the_next_ones_take_longer_and_longer() -> None:
    policy = RestartPolicy()
    delays_s = [policy.on_death(10.0 + number) for number in range(5)]
    assert delays_s == list(RESTART_DELAYS_S)
    assert delays_s[0] == 0
    assert delays_s == sorted(set(RESTART_DELAYS_S))


def test_the_sixth_death_within_the_window_is_the_last() -> None:
    policy = RestartPolicy()
    for number in range(5):
        assert policy.on_death(float(number)) is not None
    assert policy.on_death(RESTART_WINDOW_S - 0.1) is None
    assert policy.deaths == 6


def test_deaths_long_ago_are_forgotten() -> None:
    policy = RestartPolicy()
    for number in range(5):
        policy.on_death(float(number))
    assert policy.on_death(RESTART_WINDOW_S + 1.5) == RESTART_DELAYS_S[3]  # those at 0 and 1 s are forgotten
    assert policy.on_death(RESTART_WINDOW_S * 3) == RESTART_DELAYS_S[0]


def test_a_gateway_that_dies_now_and_then_goes_on_forever() -> None:
    policy = RestartPolicy()
    assert all(policy.on_death(number * RESTART_WINDOW_S / 5) is not None for number in range(100))


def test_a_gateway_that_posts_nothing_for_long_hangs_and_one_that_does_never() -> None:
    pulse, looks_s = HangDetector(), [0.25 * number for number in range(1000)]
    assert not any(pulse.poll(1 + int(now_s), now_s) for now_s in looks_s)
    lost = [now_s for now_s in (1000 + look_s for look_s in looks_s) if pulse.poll(999_999, now_s)]
    assert lost[0] == 1000 + HANG_TIMEOUT_S


def test_a_gateway_that_has_not_begun_does_not_hang() -> None:
    pulse = HangDetector()
    assert not any(pulse.poll(0, 10.0 * number) for number in range(1000))


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """A laptop that was closed for the night."""
    pulse = HangDetector()
    pulse.poll(1, 0.0)
    assert not any(pulse.poll(1, 30_000.0 + 0.25 * look) for look in range(MIN_HANG_POLLS - 1))
    assert pulse.poll(1, 30_005.0)
