"""Gates: what holds, what fails, and that no data never passes."""

from __future__ import annotations

import pytest

from vfctl.errors import UsageError
from vfctl.loadtest.gates import judge, parse_gate

RESULTS = {"latency_ms": {"count": 10, "p95": 8.5, "p50": None}, "clients": {"lost": 0}, "interrupted": False}


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
    ],
)
def test_verdicts(expression: str, passes: bool) -> None:
    (verdict,) = judge([parse_gate(expression)], RESULTS)
    assert verdict.passed is passes
    assert verdict.expression == expression


@pytest.mark.parametrize(
    "path", ["latency_ms.p50", "latency_ms.p42", "nothing.at.all", "latency_ms", "interrupted", "clients.lost.x"]
)
def test_no_data_fails_whatever_the_comparison(path: str) -> None:
    verdicts = judge([parse_gate(f"{path} {operator} 0") for operator in ("<", "<=", ">", ">=", "==", "!=")], RESULTS)
    assert [(verdict.value, verdict.passed) for verdict in verdicts] == [(None, False)] * 6


@pytest.mark.parametrize(
    "expression", ["", "p95", "latency_ms.p95 < ", "< 30", "latency_ms.p95 < 1.2.3", "a.b ~ 3", "a b < 3", "a < nan"]
)
def test_what_is_no_gate_is_refused(expression: str) -> None:
    with pytest.raises(UsageError, match="PATH OPERATOR NUMBER"):
        parse_gate(expression)
