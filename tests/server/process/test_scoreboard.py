"""What gateways and their parent read of each other."""

from __future__ import annotations

import multiprocessing

import pytest

from vfctl.server.capacity import ClientLimit
from vfctl.server.scoreboard import Scoreboard


def client_limit(scoreboard: Scoreboard, number: int, capacity: int = 10, max_clients: int = 100) -> ClientLimit:
    return ClientLimit(scoreboard, number, capacity=capacity, max_clients=max_clients)


def test_places_are_counted_over_all_gateways() -> None:
    scoreboard = Scoreboard(2)
    first, second = client_limit(scoreboard, 0, max_clients=3), client_limit(scoreboard, 1, max_clients=3)
    assert [first.acquire(), second.acquire(), first.acquire()] == [None, None, None]
    assert "accepts 3 clients" in (second.acquire() or "")
    assert scoreboard.clients == 3
    first.release()
    assert second.acquire() is None
    assert [slot.clients for slot in scoreboard] == [1, 2]


def test_a_gateway_that_is_full_says_that_another_may_have_room() -> None:
    scoreboard = Scoreboard(2)
    small, large = client_limit(scoreboard, 0, capacity=1), client_limit(scoreboard, 1)
    assert scoreboard.capacity == 11
    assert small.acquire() is None
    assert "another gateway may have room" in (small.acquire() or "")
    assert large.acquire() is None
    assert scoreboard.clients == 2


def test_the_clients_of_a_gateway_that_has_died_do_not_count() -> None:
    scoreboard = Scoreboard(2)
    dead, living = client_limit(scoreboard, 0, max_clients=1), client_limit(scoreboard, 1, max_clients=1)
    dead.acquire()
    dead.slot.frames = dead.slot.began_us = 7
    living.slot.began_us = 8
    assert living.acquire() is not None
    scoreboard.clear(0)
    assert living.acquire() is None
    assert [number for number, _ in scoreboard.serving()] == [1]
    assert scoreboard[0].frames == 0


def test_a_copy_stays_as_it_was() -> None:
    scoreboard = Scoreboard(1)
    scoreboard[0].bytes = 2**40
    copy = scoreboard[0].copy()
    scoreboard[0].bytes += 1
    assert (copy.bytes, scoreboard[0].bytes) == (2**40, 2**40 + 1)


def _write(scoreboard: Scoreboard) -> None:
    scoreboard[1].frames = scoreboard[0].frames + 1


@pytest.mark.processes
def test_a_spawned_process_writes_what_we_read() -> None:
    scoreboard = Scoreboard(2)
    scoreboard[0].frames = 41
    process = multiprocessing.get_context("spawn").Process(target=_write, args=(scoreboard,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert [slot.frames for slot in scoreboard] == [41, 42]
