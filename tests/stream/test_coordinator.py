"""Who is due: the description's throttle, spread and rotated."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vfctl.stream import ClientCoordinator, Intervals

TICK_US = 1_000_000 // 60


def run_ticks(coordinator: ClientCoordinator, first: int, count: int) -> list[list[tuple[int, int]]]:
    """(client, sequence) served in each tick, the clock being the tick's number."""
    return [
        [(client, due.sequence) for due in coordinator.due(tick * TICK_US) for client in due.clients]
        for tick in range(first, first + count)
    ]


def test_active_clients_are_served_twenty_times_a_second_and_stable_ones_once() -> None:
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(), 0)
    for client in range(300):
        coordinator.add(client)
    active = Counter(client for tick in run_ticks(coordinator, 1, 60) for client, _ in tick)
    assert len(active) == 300
    assert set(active.values()) <= {19, 20, 21}
    coordinator.set_settled(True)
    run_ticks(coordinator, 61, 60)
    stable = Counter(client for tick in run_ticks(coordinator, 121, 60) for client, _ in tick)
    assert set(stable.values()) <= {1, 2}
    assert abs(sum(stable.values()) - 300) <= 5


def test_the_load_of_a_tick_is_even_at_the_stable_interval() -> None:
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(), 0)
    coordinator.set_settled(True)
    for client in range(6000):
        coordinator.add(client)
    run_ticks(coordinator, 1, 60)
    sizes = [len(tick) for tick in run_ticks(coordinator, 61, 60)]
    assert max(sizes) <= 1.15 * 100
    assert min(sizes) >= 0.85 * 100


def test_going_active_serves_everybody_within_the_active_interval() -> None:
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(), 0)
    for client in range(100):
        coordinator.add(client)
    coordinator.set_settled(True)
    run_ticks(coordinator, 1, 20)
    coordinator.set_settled(False)
    served = {client for tick in run_ticks(coordinator, 21, 4) for client, _ in tick}
    assert served == set(range(100))


def test_the_order_within_a_tick_rotates() -> None:
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(active_us=TICK_US), 0)
    for client in range(50):
        coordinator.add(client)
    last = Counter(tick[-1][0] for tick in run_ticks(coordinator, 1, 500))
    assert max(last.values()) < 50


Events = list[tuple[str, int]]
events = st.lists(
    st.tuples(st.sampled_from(["tick", "tick", "add", "remove", "settle", "wake"]), st.integers(0, 30)), max_size=200
)


@given(events)
def test_every_client_sees_every_round_once(events: Events) -> None:
    """No number is left out by design; the first has the number of the round that was joined, or the next."""
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(), 0)
    last_seen: dict[int, int] = {}
    new: set[int] = set()
    now_us = 0
    for event, number in events:
        if event == "tick":
            now_us += number * TICK_US
            for due in coordinator.due(now_us):
                for client in due.clients:
                    steps = {0, 1} if client in new else {1}
                    assert due.sequence - last_seen[client] in steps
                    last_seen[client] = due.sequence
                    new.discard(client)
        elif event == "add" and number not in last_seen:
            coordinator.add(number)
            last_seen[number] = coordinator.sequence
            new.add(number)
        elif event == "remove":
            coordinator.remove(number)
            last_seen.pop(number, None)
            new.discard(number)
        elif event in ("settle", "wake"):
            coordinator.set_settled(event == "settle")
        assert len(coordinator) == len(last_seen)


def test_a_group_shares_phases_when_there_are_many_clients_and_the_load_stays_even() -> None:
    """What a group receives is made once for each phase that its clients have."""
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(), 0)
    coordinator.set_settled(True)
    for client in range(50_000):
        coordinator.add(client, group=client % 1000)
    run_ticks(coordinator, 1, 60)
    ticks = run_ticks(coordinator, 61, 60)
    made = sum(len({client % 1000 for client, _ in tick}) for tick in ticks)
    assert made < 50_000 / 3.5, "the first to come were few, and do not share as much"
    sizes = [len(tick) for tick in ticks]
    assert max(sizes) <= 1.15 * 50_000 / 60
    assert min(sizes) >= 0.85 * 50_000 / 60


def test_a_client_that_moves_to_another_group_keeps_one_turn_a_round() -> None:
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(), 0)
    for client in range(100):
        coordinator.add(client, group=client % 3)
    for client in range(0, 100, 7):
        coordinator.move(client, "other")
    assert len(coordinator) == 100
    run_ticks(coordinator, 1, 3)
    turns = Counter(client for tick in run_ticks(coordinator, 4, 30) for client, _ in tick)
    assert len(turns) == 100
    assert set(turns.values()) <= {9, 10, 11}


def test_recorded_states_are_followed_unless_there_is_no_time_for_it() -> None:
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(), 0)
    for client in range(100):
        coordinator.add(client)
    for number in range(1, 20):  # every 40 ms, which is not the interval of the server
        start_us = number * 40_000
        left = [client for due in coordinator.begin_interval(start_us, 40_000) for client in due.clients]
        assert number == 1 or left == []
        assert coordinator.interval_us == 40_000  # what the trailers promise
        ticks = [due for tick_us in (0, 16_000, 33_000) for due in coordinator.due(start_us + tick_us)]
        served = [client for due in ticks for client in due.clients]
        assert sorted(served) == list(range(100))
        coordinator.set_settled(False)
    sequence = coordinator.sequence
    assert coordinator.begin_interval(20 * 40_000, 5_000) == []  # 200 states a second: the newest at the usual pace
    assert coordinator.sequence == sequence + 1
    coordinator.set_settled(False)
    assert coordinator.interval_us == 50_000
    assert sum(len(due.clients) for due in coordinator.due(20 * 40_000 + 50_000)) == 100  # at once, nobody waits
    sequence = coordinator.sequence
    assert coordinator.sequence == sequence


def test_a_recording_that_stops_is_served_at_the_stable_interval() -> None:
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(), 0)
    coordinator.add(1)
    coordinator.begin_interval(0, 50_000)
    served_us = []
    for tick in range(300):
        now_us = tick * TICK_US
        coordinator.set_settled(True)
        served_us += [now_us for due in coordinator.due(now_us) if due.clients]
    assert served_us[0] < 50_000
    gaps_s = np.diff(served_us[2:]) / 1e6  # from the second that comes by itself: the first has any phase
    assert len(gaps_s) >= 3
    assert np.abs(gaps_s - 1).max() < 0.05
