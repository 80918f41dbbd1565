"""Gates on results: what holds, what fails, and that no data never passes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.loadtest.results.golden_inputs import a_run, changed
from vfctl.errors import UsageError
from vfctl.loadtest.results.gate_verdicts import check_baseline, check_path, judge, judge_sides
from vfctl.loadtest.results.model import OlderResults, Spread
from vfctl.loadtest.scenario.gates import parse_gate


def results_with(**parts: Any) -> OlderResults:
    """Results that have only these parts."""
    return OlderResults(schema="vfctl.loadtest/2", url="ws://x/ws", **parts)


RESULTS = results_with(
    latency_ms={"count": 10, "p95": 8.5, "p50": None},
    clients={"lost": 0},
    interrupted=False,
    throughput={"bytes_per_s": 6e6, "messages_per_s": 200.0},
    generator={"cpu_percent": 1.5},
    duration_s=30.0,
)
OPERATORS = ("<", "<=", ">", ">=", "==", "!=")


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("latency_ms.p95 < 30", True),
        ("latency_ms.p95 < 8.5", False),
        ("latency_ms.p95<=8.5", True),
        ("latency_ms.p95 > 1e1", False),
        ("latency_ms.p95 >= 8.5", True),
        ("clients.lost == 0", True),
        ("clients.lost != 0", False),
        ("clients.lost > -1", True),
        ("latency_ms.p95 < 30ms", True),
        ("latency_ms.p95 < 0.03s", True),
        ("latency_ms.p95 < 0.008 s", False),
        ("latency_ms.p95 == 8500µs", True),
        ("throughput.bytes_per_s > 5MB/s", True),
        ("throughput.bytes_per_s > 6 MiB/s", False),
        ("throughput.bytes_per_s >= 48Mbit/s", True),
        ("throughput.messages_per_s >= 200/s", True),
        ("generator.cpu_percent < 2%", True),
        ("duration_s >= 0.5min", True),
    ],
)
def test_verdicts(expression: str, passes: bool) -> None:
    (verdict,) = judge([parse_gate(expression)], RESULTS)
    assert verdict.passed is passes
    assert (verdict.expression, verdict.reason) == (expression, "")


@pytest.mark.parametrize(
    "path", ["latency_ms.p50", "latency_ms.p42", "nothing.at.all", "latency_ms", "interrupted", "clients.lost.x"]
)
def test_no_data_fails_whatever_the_comparison(path: str) -> None:
    verdicts = judge([parse_gate(f"{path} {operator} 0") for operator in OPERATORS], RESULTS)
    assert [(verdict.value, verdict.passed, verdict.reason) for verdict in verdicts] == [(None, False, "no data")] * 6


@pytest.mark.parametrize("above", ["", "roles.viewer."])
@pytest.mark.parametrize(
    ("figure", "evidence"),
    [*((name, "latency_ms.count") for name in ("gaps", "duplicates", "reordered")), ("wrong", "frames.sampled")],
)
def test_no_fault_was_found_is_no_data_where_nothing_was_looked_at(above: str, figure: str, evidence: str) -> None:
    part: dict[str, dict[str, int]] = {"frames": {figure: 0, "sampled": 1}, "latency_ms": {"count": 1}}
    gate = parse_gate(f"{above}frames.{figure} == 0")
    assert judge([gate], results_with(**part, roles={"viewer": part}))[0].passed
    key, name = evidence.split(".")
    part[key][name] = 0
    (verdict,) = judge([gate], results_with(**part, roles={"viewer": part}))
    assert (verdict.value, verdict.passed, verdict.reason) == (None, False, "no data")


def test_no_full_buffer_was_found_is_no_data_where_none_was_looked_at() -> None:
    """Buffers are looked at when a message is sampled."""
    gate, generator = parse_gate("generator.full_buffers == 0"), {"full_buffers": 0}
    assert judge([gate], results_with(generator=generator, frames={"sampled": 1}))[0].passed
    assert judge([gate], results_with(generator=generator, frames={"sampled": 0}))[0].reason == "no data"


def test_a_fault_that_one_of_several_runs_has_not_looked_for_is_no_data() -> None:
    """The median says that something was sampled; the run that sampled nothing could have had any number."""
    gate = parse_gate("frames.wrong == 0")
    for fewest, reason in ((3, ""), (0, "no data")):
        spread = {"frames.sampled": Spread(min=fewest, max=9, values=[9, fewest, 9])}
        run = changed(a_run(count=10).results, frames__wrong=0, frames__sampled=9, spread=spread)
        assert judge([gate], run)[0].reason == reason
        assert judge_sides([gate], {"a": run, "b": run})[0].reason == reason


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_data_whatever_the_comparison(number: float) -> None:
    results = results_with(latency_ms={"p95": number})
    verdicts = judge([parse_gate(f"latency_ms.p95 {operator} 1") for operator in OPERATORS], results)
    assert [(verdict.passed, verdict.reason) for verdict in verdicts] == [(False, "no data")] * 6
    (verdict,) = judge([parse_gate("latency_ms.p95 < baseline")], RESULTS, results)
    assert (verdict.passed, verdict.reason) == (False, "no data in the baseline")


@pytest.mark.parametrize(
    ("limit", "baseline", "passes", "reason"),
    [
        ("1.2 * baseline", 8.0, True, ""),
        ("1.05*baseline", 8.0, False, ""),
        ("baseline + 2ms", 7.0, True, ""),
        ("baseline+0.001s", 7.0, False, ""),
        ("2 * baseline - 1ms", 5.0, True, ""),
        ("1.2 * baseline", None, False, "no data in the baseline"),
    ],
)
def test_gates_relative_to_a_baseline(limit: str, baseline: float | None, passes: bool, reason: str) -> None:
    (verdict,) = judge([parse_gate(f"latency_ms.p95 <= {limit}")], RESULTS, results_with(latency_ms={"p95": baseline}))
    assert (verdict.passed, verdict.reason) == (passes, reason)


def test_a_missing_baseline_is_a_mistake_of_usage() -> None:
    gates = [parse_gate("latency_ms.p95 < 1"), parse_gate("latency_ms.p95 <= baseline")]
    check_baseline(gates[:1], has_baseline=False)
    with pytest.raises(UsageError, match="needs a baseline"):
        check_baseline(gates, has_baseline=False)
    (verdict,) = judge(gates[1:], RESULTS, results_with())
    assert (verdict.passed, verdict.limit, verdict.reason) == (False, None, "no data in the baseline")


@pytest.mark.parametrize(
    ("expression", "advice"),
    [
        ("latency.p95 < 3", "did you mean latency_ms.p95?"),
        ("p95 < 3", "it could be latency_ms.p95"),
        ("clients.lots == 0", "did you mean clients.lost?"),
        ("throughput.messages > 3", "did you mean throughput.messages_per_s?"),
        ("roles.viewer.latency_ms.p59 < 3", "did you mean roles.viewer.latency_ms.p"),
        ("comparison.difference < 3", "did you mean difference_ms?"),
        ("interrupted == 0", "it could be clients.target"),
        ("seconds.p95_ms < 3", "did you mean"),
    ],
)
def test_a_path_that_results_do_not_have_is_a_mistake_of_usage(expression: str, advice: str) -> None:
    with pytest.raises(UsageError, match="no metric") as refused:
        check_path(parse_gate(expression))
    assert advice in (refused.value.hint or "")


@pytest.mark.parametrize(
    "expression",
    [
        *("latency_ms.p999 < 3", "duration_s > 1", "generator.lag_ms.p99 < 3", "roles.any-name.frames.gaps == 0"),
        *("a.latency_ms.p95 < 3", "b.roles.x.voice_ms.p50 < 3", "comparison.high_ms < 3", "errors.refused == 0"),
    ],
)
def test_a_path_that_results_have_is_accepted(expression: str) -> None:
    check_path(parse_gate(expression))
    with pytest.raises(UsageError, match="there is no role nobody"):
        check_path(parse_gate("roles.nobody.frames.gaps == 0"), ["viewer", "dragger"])
