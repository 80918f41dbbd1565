"""When a gateway is started again. The clock is the test's."""

from __future__ import annotations

from vfctl.server.restarts import RESTART_DELAYS_S, RESTART_WINDOW_S, RestartPolicy


def test_the_first_restart_is_at_once_and_the_next_ones_take_longer_and_longer() -> None:
    policy = RestartPolicy()
    delays_s = [policy.died(10.0 + number) for number in range(5)]
    assert delays_s == list(RESTART_DELAYS_S)
    assert delays_s[0] == 0
    assert delays_s == sorted(set(RESTART_DELAYS_S))


def test_the_sixth_death_within_the_window_is_the_last() -> None:
    policy = RestartPolicy()
    for number in range(5):
        assert policy.died(float(number)) is not None
    assert policy.died(RESTART_WINDOW_S - 0.1) is None
    assert policy.deaths == 6


def test_deaths_long_ago_are_forgotten() -> None:
    policy = RestartPolicy()
    for number in range(5):
        policy.died(float(number))
    assert policy.died(RESTART_WINDOW_S + 1.5) == RESTART_DELAYS_S[3]  # those at 0 and 1 s are forgotten
    assert policy.died(RESTART_WINDOW_S * 3) == RESTART_DELAYS_S[0]


def test_a_gateway_that_dies_now_and_then_goes_on_forever() -> None:
    policy = RestartPolicy()
    assert all(policy.died(number * RESTART_WINDOW_S / 5) is not None for number in range(100))
