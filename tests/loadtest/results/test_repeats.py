"""Several runs as one: medians, the worst of faults, and nothing that hides a run without data."""

from __future__ import annotations

from collections.abc import Callable

from tests.loadtest.results.test_build import seen
from vfctl.loadtest.generator.health import Health
from vfctl.loadtest.generator.observations import Observations, Outcome
from vfctl.loadtest.results.gate_verdicts import judged
from vfctl.loadtest.results.model import LoadtestResults, Repeat, Spread
from vfctl.loadtest.results.repeats import fold, middle_run
from vfctl.loadtest.scenario.gates import parse_gate

MakeResults = Callable[..., LoadtestResults]


def several(make_results: MakeResults, *latencies_us: int) -> list[LoadtestResults]:
    return [make_results(seen(latency_us)) for latency_us in latencies_us]


def test_figures_are_medians_and_the_spread_is_told(make_results: MakeResults) -> None:
    runs = several(make_results, 1000, 1800, 1200)
    folded = fold(runs)
    assert folded.latency_ms.p95 == 1.2
    assert folded.spread is not None
    assert folded.spread["latency_ms.p95"] == Spread(min=1.0, max=1.8, values=[1.0, 1.8, 1.2])
    assert (middle_run(folded.runs), len(folded.runs)) == (2, 3)
    folded = judged(folded, [parse_gate("latency_ms.p95 < 1.5"), parse_gate("spread.x < 1")])
    assert [gate.passed for gate in folded.gates] == [True, False]


def test_one_run_is_what_it_was(make_results: MakeResults) -> None:
    (only,) = several(make_results, 1000)
    assert fold([only]) == only


def test_faults_of_one_run_are_not_hidden_by_the_others(make_results: MakeResults) -> None:
    bad = make_results(seen(1000), outcome=Outcome(5, 4, 0, 1), health=Health(0, wall_s=10.0, cpu_s=9.9))
    bad = bad.model_copy(update={"errors": {"refused": 2}})
    folded = fold([*several(make_results, 1000, 1000), bad])
    assert folded.clients.lost == 1
    assert folded.clients.connected == 5
    assert folded.errors == {"refused": 2}
    assert folded.generator.verdict == "generator saturated"


def test_a_last_run_that_was_ended_early_is_told_and_not_counted(make_results: MakeResults) -> None:
    runs = several(make_results, 1000, 1800, 9000)
    runs[2] = runs[2].model_copy(update={"interrupted": True})
    folded = fold(runs, asked=5)
    assert folded.latency_ms.p95 == 1.4
    assert folded.repeat == Repeat(asked=5, begun=3, counted=2)
    assert (folded.interrupted, middle_run(folded.runs)) == (True, 1)
    runs[2] = runs[2].model_copy(update={"interrupted": False, "failure": "it died"})
    assert fold(runs, asked=5).failure == "it died"
    only = fold(runs[2:], asked=5)
    assert only.repeat is not None
    assert (only.latency_ms.p95, only.repeat.counted) == (9.0, 1)


def test_a_run_without_samples_leaves_none(make_results: MakeResults) -> None:
    folded = fold([*several(make_results, 1000, 1000), make_results(Observations())])
    assert judged(folded, [parse_gate("latency_ms.p95 < 1000")]).gates[0].reason == "no data"
    assert folded.measured_anything
    assert not fold([*several(make_results, 1000), make_results(Observations())]).measured_anything
