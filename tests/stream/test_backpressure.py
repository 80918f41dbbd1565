"""Slow clients skip, stalled ones are given up, nobody who makes progress is."""

from __future__ import annotations

from vfctl.stream import Backlog, Delivery, SlowClientPolicy

TIMEOUT_US = 20_000_000


def test_nothing_waiting_is_written() -> None:
    assert Backlog().decide(0, 5, TIMEOUT_US) is Delivery.WRITE


def test_a_client_that_takes_nothing_is_given_up_after_the_timeout() -> None:
    backlog = Backlog()
    assert backlog.decide(9000, 1_000_000, TIMEOUT_US) is Delivery.SKIP
    assert backlog.decide(9000, 20_999_999, TIMEOUT_US) is Delivery.SKIP
    assert backlog.decide(9000, 21_000_000, TIMEOUT_US) is Delivery.GIVE_UP


def test_any_progress_starts_the_time_anew() -> None:
    backlog = Backlog()
    backlog.decide(9000, 1_000_000, TIMEOUT_US)
    assert backlog.decide(8999, 20_000_000, TIMEOUT_US) is Delivery.SKIP
    assert backlog.decide(8999, 39_999_999, TIMEOUT_US) is Delivery.SKIP
    assert backlog.decide(8999, 40_000_000, TIMEOUT_US) is Delivery.GIVE_UP


def test_a_client_that_has_caught_up_begins_anew() -> None:
    backlog = Backlog()
    backlog.decide(9000, 1_000_000, TIMEOUT_US)
    assert backlog.decide(0, 15_000_000, TIMEOUT_US) is Delivery.WRITE
    assert backlog.decide(9000, 25_000_000, TIMEOUT_US) is Delivery.SKIP


def test_where_skipping_is_not_allowed_the_first_frame_not_taken_is_the_last() -> None:
    backlog = Backlog()
    assert backlog.decide(0, 1, TIMEOUT_US, SlowClientPolicy.DISCONNECT) is Delivery.WRITE
    assert backlog.decide(1, 2, TIMEOUT_US, SlowClientPolicy.DISCONNECT) is Delivery.GIVE_UP
