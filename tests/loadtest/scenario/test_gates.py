"""Gates: how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.errors import UsageError
from vfctl.loadtest.scenario.gates import parse_abort_gate, parse_gate
from vfctl.quantities import metric_unit

OPERATORS = ("<", "<=", ">", ">=", "==", "!=")
PATHS = st.sampled_from(
    [
        "latency_ms.p95",
        "throughput.bytes_per_s",
        "generator.cpu_percent",
        "clients.lost",
        "duration_s",
        "roles.b-c.d_ms",
    ]
)
NUMBERS = st.floats(-1e12, 1e12, allow_nan=False)
SPACES = st.sampled_from(["", " ", "  "])


@pytest.mark.parametrize(
    "expression",
    [
        *("", "p95", "latency_ms.p95 < ", "< 30", "latency_ms.p95 < 1.2.3", "a.b ~ 3", "a b < 3", "a < nan"),
        *("a_ms < 1e999", "a_ms < 2 *", "a_ms < * baseline", "a_ms < baseline * 2", "a_ms < 30ms 2", "a < baseline 2"),
    ],
)
def test_what_is_no_gate_is_refused(expression: str) -> None:
    with pytest.raises(UsageError, match="PATH OPERATOR NUMBER"):
        parse_gate(expression)


@pytest.mark.parametrize(
    ("expression", "advice"),
    [
        ("latency_ms.p95 < 30%", "us, µs, ms, s, min"),
        ("roles.viewer.latency_ms.p95 < 30MB/s", "us, µs, ms, s, min"),
        ("throughput.bytes_per_s > 5ms", "kB/s"),
        ("generator.cpu_percent < 2s", "%"),
        ("clients.lost < 3ms", "write 3"),
        ("latency_ms.count > 3s", "write 3"),
        ("roles.slow_ms.clients.lost < 3ms", "write 3"),
        ("latency_ms.p95 <= baseline + 2%", "us, µs, ms, s, min"),
    ],
)
def test_a_unit_that_does_not_fit_is_refused_with_those_that_do(expression: str, advice: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_gate(expression)
    assert advice in (refused.value.hint or "")


def test_abort_gates_say_when() -> None:
    gate = parse_abort_gate("latency_ms.p95 < 200 after 10s")
    assert (gate.limit, gate.after_s) == (200, 10)
    assert parse_abort_gate("clients.failed == 0 after 500 ms").after_s == 0.5
    for expression, why in (
        ("latency_ms.p95 < 200", "how much measured time"),
        ("latency_ms.p95 < 200 after soon", "expected a duration"),
        ("frames.gaps == 0 after 1s", "not known before the end"),
    ):
        with pytest.raises(UsageError, match=why):
            parse_abort_gate(expression)
    with pytest.raises(UsageError, match="at the end"):
        parse_gate("latency_ms.p95 < 200 after 10s")


@given(PATHS, st.sampled_from(OPERATORS), NUMBERS, SPACES, st.data())
def test_every_number_with_every_unit_that_fits_is_read(
    path: str, operator: str, number: float, space: str, data: st.DataObject
) -> None:
    unit = metric_unit(path)
    units = {"": 1.0, **(unit.factors if unit else {})}
    written = data.draw(st.sampled_from(sorted(units)))
    gate = parse_gate(f"{space}{path}{space}{operator}{space}{number!r}{space}{written}{space}")
    assert (gate.path, gate.operator) == (path, operator)
    assert gate.limit == pytest.approx(number * units[written], rel=1e-12)


@given(st.text(alphabet=st.sampled_from("abps_.19<>=! *+-%/msMBafter basline\n"), max_size=40))
def test_any_text_is_a_gate_or_a_mistake_of_usage(text: str) -> None:
    for parse in (parse_gate, parse_abort_gate):
        try:
            gate = parse(text)
        except UsageError:
            continue
        assert gate.path in text


@given(PATHS, st.floats(0, 1e6), NUMBERS)
def test_every_share_of_a_baseline_is_read(path: str, factor: float, more: float) -> None:
    sign = "-" if more < 0 else "+"
    gate = parse_gate(f"{path} <= {factor!r} * baseline {sign} {abs(more)!r}")
    assert (gate.baseline_factor, gate.limit) == (factor, more)
