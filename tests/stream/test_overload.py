"""Overload control: a simulated gateway on a fake clock, driven through the real coordinator."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from vfctl.stream import ClientCoordinator, Intervals
from vfctl.stream.intervals import LONGEST_US, TARGET, OverloadController

TICK_US = 1_000_000 // 60
ACTIVE_US, STABLE_US = 50_000, 1_000_000


@dataclass
class SimulatedGateway:
    """Serves whoever is due at every tick; each client served takes its time, and a tick that takes too long delays
    the next one. `other` is what else keeps the process awake, as a share of the time."""

    clients: int
    cost_us: float
    noise: Callable[[], float] = lambda: 1.0
    overhead_us: float = 300.0
    other: float = 0.0
    intervals_us: list[int] = field(default_factory=list)
    works_us: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.coordinator: ClientCoordinator = ClientCoordinator(Intervals(ACTIVE_US, STABLE_US), 0)
        for client in range(self.clients):
            self.coordinator.add(client)
        self.now_us = 0
        self.awake_us = 0

    def run(self, seconds: float, settled: bool = False) -> None:
        end_us = self.now_us + round(seconds * 1e6)
        while self.now_us < end_us:
            began_us = self.now_us
            self.coordinator.set_settled(settled)
            served = sum(len(due.clients) for due in self.coordinator.due(began_us))
            work_us = round((self.overhead_us + served * self.cost_us) * self.noise())
            self.awake_us += work_us
            tick_us = max(TICK_US, work_us)
            awake_us = self.awake_us + self.other * (began_us + tick_us)
            self.coordinator.tick_done(work_us, began_us + tick_us, partial(round, awake_us))
            self.works_us.append(work_us)
            self.intervals_us.append(self.coordinator.interval_us)
            self.now_us = max(began_us + TICK_US, began_us + work_us)

    def recent(self, what: list[int], seconds: float) -> list[int]:
        return what[-round(60 * seconds) :]


def test_a_gateway_with_time_to_spare_keeps_to_what_is_wanted() -> None:
    gateway = SimulatedGateway(clients=300, cost_us=12)
    gateway.run(5)
    assert set(gateway.intervals_us) == {ACTIVE_US}
    gateway.run(5, settled=True)
    assert set(gateway.recent(gateway.intervals_us, 4)) == {STABLE_US}
    gateway.run(1)
    assert set(gateway.recent(gateway.intervals_us, 0.9)) == {ACTIVE_US}, "at once"


@pytest.mark.parametrize("clients", [5_000, 15_000, 60_000])
def test_the_interval_grows_until_the_work_fits_and_no_further(clients: int) -> None:
    """What fits: clients × cost ÷ interval + overhead = the target share of the time."""
    gateway = SimulatedGateway(clients, cost_us=15)
    gateway.run(10)
    right_us = clients * 15 / (TARGET - 300 / TICK_US)
    interval_us = gateway.intervals_us[-1]
    assert interval_us == pytest.approx(right_us, rel=0.1)
    assert max(gateway.recent(gateway.works_us, 5)) < TICK_US, "every tick's work fits into a tick"


def test_it_does_not_oscillate() -> None:
    """Once found, the interval stays within some percent, although each tick's work varies by half."""
    draw = random.Random(1)
    gateway = SimulatedGateway(20_000, cost_us=15, noise=lambda: draw.uniform(0.75, 1.25))
    gateway.run(10)
    settled_us = gateway.intervals_us[-1]
    gateway.run(60)
    after_us = gateway.recent(gateway.intervals_us, 60)
    assert min(after_us) > 0.85 * settled_us
    assert max(after_us) < 1.15 * settled_us
    changes = sum(one != other for one, other in itertools.pairwise(after_us))
    assert changes < 60, "no more than one a second"


def test_it_is_there_within_two_seconds_from_nothing_and_at_once_from_rest() -> None:
    cold = SimulatedGateway(15_000, cost_us=15)
    cold.run(2)
    right_us = cold.intervals_us[-1]
    warm = SimulatedGateway(15_000, cost_us=15)
    warm.run(5, settled=True)
    assert warm.intervals_us[-1] == STABLE_US
    warm.run(0.1)
    assert warm.intervals_us[-1] == pytest.approx(right_us, rel=0.25), "known from the work at rest"
    assert max(warm.works_us) < 1.3 * TICK_US, "coming to life overloads nobody"


def test_the_rate_comes_back_when_the_load_goes() -> None:
    gateway = SimulatedGateway(15_000, cost_us=15)
    gateway.run(5)
    assert gateway.intervals_us[-1] > 4 * ACTIVE_US
    for client in range(300, 15_000):
        gateway.coordinator.remove(client)
    gateway.run(6)
    assert gateway.intervals_us[-1] == ACTIVE_US


def test_no_client_misses_a_round_while_the_interval_changes() -> None:
    coordinator: ClientCoordinator = ClientCoordinator(Intervals(ACTIVE_US, STABLE_US), 0)
    last = {}
    for client in range(100):
        coordinator.add(client)
    draw = random.Random(2)
    now_us = 0
    for _ in range(2000):
        now_us += TICK_US
        for due in coordinator.due(now_us):
            for client in due.clients:
                assert due.sequence == last.get(client, due.sequence - 1) + 1
                last[client] = due.sequence
        coordinator.tick_done(round(draw.uniform(0, 1.5) * TICK_US), now_us)
        coordinator.set_settled(draw.random() < 0.1)


def test_an_interval_has_an_end() -> None:
    controller = OverloadController(0)
    for window in range(1, 200):
        controller.tick(200_000, 100_000, controller.interval_us(ACTIVE_US), window * 200_000, lambda: None)
    assert controller.shortest_us == LONGEST_US


def test_work_outside_of_the_ticks_counts_too() -> None:
    """Handshakes, or another process on the same core: the ticks' own work fits, and yet the process never sleeps."""
    gateway = SimulatedGateway(5_000, cost_us=5, other=0.6)
    gateway.run(20)
    share = sum(gateway.recent(gateway.works_us, 5)) / 5e6
    assert gateway.intervals_us[-1] > 3 * ACTIVE_US
    assert share + 0.6 < 0.9
    assert max(gateway.recent(gateway.intervals_us, 5)) < 1.3 * min(gateway.recent(gateway.intervals_us, 5))


def test_where_nobody_knows_how_long_a_process_was_awake_the_ticks_have_to_do() -> None:
    controller = OverloadController(0)
    for window in range(1, 50):
        controller.tick(90_000, 100_000, controller.interval_us(ACTIVE_US), window * 100_000, lambda: None)
    assert controller.shortest_us > ACTIVE_US
