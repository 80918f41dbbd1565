"""Searches for the highest load at which all gates hold: runs load tests, doubles the load, then halves the gap."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final, Literal

from vfctl.errors import UsageError
from vfctl.loadtest.reports.wording import gate_value
from vfctl.loadtest.results.model import FindResults, LoadtestResults, Probe
from vfctl.loadtest.scenario.gates import Gate
from vfctl.loadtest.scenario.model import Scenario

PRECISION: Final = 0.05
"""The search ends when the highest load that holds and the lowest that does not differ by less than this ratio."""

FIRST_CLIENTS: Final = 250
FIRST_RATE_HZ: Final = 1.0
MAX_CLIENTS: Final = 50_000
"""What vfctl is designed for."""

MAX_RATE_HZ: Final = 60.0
"""Frames a second to each client. The physics has no more ticks."""

DELIVERED: Final = 0.95
"""The share of a rate that must arrive, because a server that sends less has not held the rate."""

DURATION_S: Final = 10.0
"""Default measured time of a probe."""


def highest(first: float, limit: float, precision: float = PRECISION) -> Generator[float, bool, float | None]:
    """Yield loads to try; send whether each held. Returns the highest load that held, None if none did.

    The caller may round the loads. They double from `first` until one does not hold or `limit` is reached. Then the
    gap is halved (geometrically) until it is narrower than `precision`. If `first` does not hold, lower loads are
    tried, down to a sixteenth of it.
    """
    low, high = 0.0, math.inf
    load = min(first, limit)
    while not high <= low * (1 + precision):
        if (yield load):
            low = load
            if low >= limit:
                return low
        else:
            high = load
        if not low and high <= first / 16:
            return None
        load = min(2 * low, limit) if high == math.inf else math.sqrt(low * high) if low else high / 2
    return low


def with_load(scenario: Scenario, what: str, load: float) -> Scenario:
    """The scenario with a load: a number of clients, or a rate of frames to each from the embedded server."""
    if what == "clients":
        return scenario.changed(clients=max(1, round(load)))
    interval_ms = 1000 / load
    server = replace(
        scenario.server,
        state="active",
        active_interval_ms=interval_ms,
        stable_interval_ms=max(interval_ms, scenario.server.stable_interval_ms),
    )
    return scenario.changed(server=server)


def find(
    what: Literal["clients", "rate"],
    scenario: Scenario,
    until: tuple[Gate, ...],
    run: Callable[[Scenario], LoadtestResults],
    *,
    limit: float,
    on_probe: Callable[[Probe], None] = lambda _: None,
    failed: Callable[[], bool] = lambda: False,
) -> FindResults:
    """Search for the highest load at which all gates hold, with the generator valid and no client failed or lost.

    Args:
        what: `clients` or `rate`.
        until: the gates.
        run: runs a scenario and returns its results, gates judged.
        limit: no higher load is tried.
        on_probe: called after each probe.
        failed: whether the last run has failed for a reason other than its load, which ends the search.

    Raises:
        UsageError: there are no gates.
    """
    if not until:
        raise UsageError("--find needs to know what must hold", hint="add --until 'latency_ms.p95 < 30'")
    probes: list[Probe] = []
    search = highest(FIRST_CLIENTS if what == "clients" else FIRST_RATE_HZ, limit)
    load = next(search)
    while True:
        load = round(load) if what == "clients" else round(load, 2)
        results = run(with_load(scenario, what, load).changed(gates=until))
        ended = results.interrupted or failed()
        held = not ended and not reasons(results, what, load)
        probes.append(Probe(load=load, held=held, results=results))
        on_probe(probes[-1])
        try:
            if ended:
                break
            load = search.send(held)
        except StopIteration:
            break
    best = max((probe.load for probe in probes if probe.held), default=None)
    return FindResults(
        schema="vfctl.find/1", find=what, load=best, at_limit=best is not None and best >= limit, probes=probes
    )


def reasons(results: LoadtestResults, what: str, load: float) -> list[str]:
    """The reasons why a probe did not hold; empty if it held."""
    clients, generator = results.clients, results.generator
    found = [f"{count:,} {state}" for state, count in (("failed", clients.failed), ("lost", clients.lost)) if count]
    if not clients.connected:
        found.append("no client connected")
    if generator.advice:
        found.append(generator.verdict)
    rate_hz = results.throughput.messages_per_s_per_client
    if what == "rate" and rate_hz < DELIVERED * load:
        found.append(f"only {rate_hz:.3g} messages/s arrived at each client")
    if results.failure:
        found.append(results.failure)
    failed = [gate for gate in results.gates if not gate.passed]
    if results.aborted is not None:
        failed.append(results.aborted)
    return found + [f"{gate.expression}: {gate.reason or gate_value(gate)}" for gate in failed]
