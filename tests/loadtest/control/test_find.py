"""The search for the highest load at which all gates hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loadtest.results.golden_inputs import a_run, changed
from vfctl.errors import UsageError
from vfctl.loadtest.control.find import PRECISION, find, with_load
from vfctl.loadtest.results.model import GateVerdict, LoadtestResults
from vfctl.loadtest.scenario.gates import parse_gate
from vfctl.loadtest.scenario.model import Scenario

UNTIL = (parse_gate("latency_ms.p95 < 30"),)


RESULTS = a_run(Scenario(clients=5), outcome=(5, 5), errors={}, count=10).results


def results(passed: bool = True, **changes: Any) -> LoadtestResults:
    gate = GateVerdict(expression="latency_ms.p95 < 30", value=1.0, passed=passed, limit=30, reason="")
    changes = {"throughput__messages_per_s_per_client": 60.0, "gates": [gate], **changes}
    made: LoadtestResults = changed(RESULTS, **changes)
    return made


@given(st.integers(20, 100_000), st.integers(100, 50_000))
def test_it_finds_what_holds_to_within_its_precision(capacity: int, limit: int) -> None:
    tried = []

    def run(scenario: Scenario) -> LoadtestResults:
        tried.append(scenario.clients)
        return results(scenario.clients <= capacity)

    found = find("clients", Scenario(), UNTIL, run, limit=limit)
    assert max(tried) <= limit
    assert len(tried) <= 20
    if capacity >= limit:
        assert (found.load, found.at_limit) == (limit, True)
    else:
        assert found.load is not None
        assert found.load <= capacity
        assert found.load * (1 + PRECISION) + 1 >= min(capacity, limit) * (1 - 0.01)
        assert not found.at_limit


def test_nothing_holds() -> None:
    found = find("clients", Scenario(), UNTIL, lambda _: results(False), limit=1000)
    assert found.load is None
    assert len(found.probes) <= 6


@pytest.mark.parametrize(
    "bad",
    [
        {"clients__failed": 1},
        {"clients__lost": 1},
        {"clients__connected": 0},
        {"generator__advice": "use fewer", "generator__verdict": "generator saturated"},
    ],
)
def test_a_load_that_breaks_something_has_not_held(bad: dict[str, Any]) -> None:
    assert find("clients", Scenario(), UNTIL, lambda _: results(**bad), limit=1000).load is None


def test_a_rate_that_is_not_delivered_has_not_held() -> None:
    """A server that sends less can keep its latency, but it has not held the rate."""
    slow = results(throughput__messages_per_s_per_client=10.0)
    found = find("rate", Scenario(), UNTIL, lambda _: slow, limit=60)
    assert found.load is not None
    assert 9.5 < found.load <= 10.0 / 0.95


def test_an_interrupted_search_tells_what_it_knows() -> None:
    answers = iter([results(), results(), results(interrupted=True)])
    found = find("clients", Scenario(), UNTIL, lambda _: next(answers), limit=10_000)
    assert (found.load, len(found.probes)) == (500, 3)


def test_a_rate_is_the_embedded_servers_interval() -> None:
    server = with_load(Scenario(), "rate", 0.5).server
    assert (server.state, server.active_interval_ms, server.stable_interval_ms) == ("active", 2000, 2000)
    assert with_load(Scenario(), "clients", 77.0).clients == 77


def test_it_needs_to_know_what_must_hold() -> None:
    with pytest.raises(UsageError, match="what must hold"):
        find("clients", Scenario(), (), lambda _: results(), limit=10)
