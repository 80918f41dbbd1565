"""The highest load that holds: runs one load test after the other, doubling, then halving the gap."""

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
"""The search ends when what holds and what does not are closer than this, relatively."""

FIRST_CLIENTS: Final = 250
FIRST_RATE_HZ: Final = 1.0
MAX_CLIENTS: Final = 50_000
"""What the system's description promises, and this load generator."""

MAX_RATE_HZ: Final = 60.0
"""Frames a second and client: the physics has no more ticks."""

DELIVERED: Final = 0.95
"""Of a rate that is searched for, what has to come: a server that gives way by sending less has not held it."""

DURATION_S: Final = 10.0
"""Of each probe, if nobody has said."""


def highest(first: float, limit: float, precision: float = PRECISION) -> Generator[float, bool, float | None]:
    """Yields loads to try and is sent whether they held; returns the highest that did, None if not one.

    The caller may round what it tries. Doubles from `first` until a load does not hold or `limit` is reached; then
    halves the gap (geometrically) until it is narrower than `precision`. If `first` does not hold, it goes down from
    there, to a sixteenth of it.
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


def apply(scenario: Scenario, what: str, load: float) -> Scenario:
    """The scenario with that load: so many clients, or frames a second to each from the embedded server."""
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
        on_probe: told of each.
        failed: whether the last run has failed for reasons that are not its load, which ends the search.

    Raises:
        UsageError: there is nothing to hold.
    """
    if not until:
        raise UsageError("--find needs to know what must hold", hint="add --until 'latency_ms.p95 < 30'")
    probes: list[Probe] = []
    search = highest(FIRST_CLIENTS if what == "clients" else FIRST_RATE_HZ, limit)
    load = next(search)
    while True:
        load = round(load) if what == "clients" else round(load, 2)
        results = run(apply(scenario, what, load).changed(gates=until))
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
    """Why a probe has not held, in words; empty if it has."""
    clients, generator = results.clients, results.generator
    found = [f"{count:,} {fate}" for fate, count in (("failed", clients.failed), ("lost", clients.lost)) if count]
    if not clients.connected:
        found.append("nobody connected")
    if generator.advice:
        found.append(generator.verdict)
    rate_hz = results.throughput.messages_per_s_per_client
    if what == "rate" and rate_hz < DELIVERED * load:
        found.append(f"only {rate_hz:.3g} messages a second and client came")
    if results.failure:
        found.append(results.failure)
    failed = [gate for gate in results.gates if not gate.passed]
    if results.aborted is not None:
        failed.append(results.aborted)
    return found + [f"{gate.expression}: {gate.reason or gate_value(gate)}" for gate in failed]
