"""What becomes of observations in the results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vfctl.cli.app import run
from vfctl.loadtest.generator.health import Health
from vfctl.loadtest.generator.heartbeats import ClockSample
from vfctl.loadtest.generator.observations import Observations, Outcome
from vfctl.loadtest.reports.as_data import render_json
from vfctl.loadtest.results.gate_verdicts import judge, judged
from vfctl.loadtest.results.model import Clients, Clock, LoadtestResults
from vfctl.loadtest.scenario.gates import parse_gate
from vfctl.loadtest.scenario.roles import SlowReader, Viewer

MakeResults = Callable[..., LoadtestResults]


def seen(latency_us: int, messages: int = 100) -> Observations:
    made = Observations(messages=messages, bytes=messages * 50, frames=messages, gaps=messages // 10)
    for _ in range(messages):
        made.record(latency_us, latency_us + 1000)
        made.record_corrected(latency_us)
    return made


def test_the_results_carry_the_verdict(make_results: MakeResults) -> None:
    generator = make_results(Observations(full_buffers=2), health=Health(0, wall_s=10.0, cpu_s=9.9)).generator
    assert generator.verdict == "generator saturated"
    assert generator.cpu_percent_max == 99.0
    assert generator.full_buffers == 2


def test_an_empty_histogram_fails_every_latency_gate(make_results: MakeResults) -> None:
    results = make_results(Observations(), outcome=Outcome(5, 0, 5))
    gates = [
        parse_gate(f"latency_ms.{name} < 1000") for name in ("min", "p50", "p90", "p95", "p99", "p999", "max", "mean")
    ]
    assert not any(gate.passed for gate in judged(results, gates).gates)
    assert results.latency_ms.count == 0
    assert not results.measured_anything


def test_gates_that_hold_of_a_run_that_did_not_are_not_passed_later(
    make_results: MakeResults, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As the run itself had exit code 4."""
    path = tmp_path / "results.json"
    for changes, why in (
        ({"failure": "it died"}, "the run failed: it died"),
        ({}, "no message was received"),
    ):
        path.write_text(render_json(make_results(Observations()).model_copy(update=changes)))
        for gate, code in (("clients.lost == 0", 4), ("clients.lost == 1", 3)):
            assert run(["gate", str(path), "--gate", gate]) == code
            assert why in capfd.readouterr().err


def test_the_headline_is_of_those_who_read_and_every_role_has_its_own_figures(make_results: MakeResults) -> None:
    """A client that reads slowly on purpose says nothing of the server's latency."""
    roles = (Viewer(), SlowReader(name="sleepy"))
    results = make_results(seen(2000), seen(5_000_000), roles=roles, outcome=Outcome(5, 4, away=1))
    assert results.latency_ms.p95 == pytest.approx(2.0, rel=0.01)
    assert results.latency_user_ms.p95 == pytest.approx(3.0, rel=0.01)
    assert results.frames.gaps == 10
    assert results.throughput.messages_per_s == 20.0
    assert results.roles["sleepy"].latency_ms.p50 == pytest.approx(5000, rel=0.01)
    assert results.roles["viewer"].throughput.messages_per_s_per_client == 2.0
    assert results.clients == Clients(target=10, connected=8, failed=0, lost=0, away=2, reconnects=0)
    (verdict,) = judge([parse_gate("roles.sleepy.latency_ms.p50 < 100")], results)
    assert not verdict.passed


def test_only_measured_stages_are_in_the_headline_and_all_are_listed(make_results: MakeResults) -> None:
    results = make_results(seen(2000))
    assert results.duration_s == 10.0
    assert [(stage.name, stage.measured, stage.duration_s) for stage in results.stages] == [
        ("ramp", False, 1.5),
        ("hold", True, 10.0),
    ]
    assert results.stages[0].latency_ms.count == 0
    assert results.stages[1].latency_ms == results.latency_ms


def test_the_clock_is_told_with_its_error(make_results: MakeResults) -> None:
    results = make_results(seen(2000), clock=ClockSample(250.0, 5_000_100.0), offset_us=5_000_100)
    assert results.clock == Clock(corrected_by_ms=5000.1, offset_ms=5000.1, error_ms=0.25)
    assert make_results(seen(1)).clock == Clock(corrected_by_ms=0.0, offset_ms=None, error_ms=None)
