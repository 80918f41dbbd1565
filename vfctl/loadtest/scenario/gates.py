"""Gates: conditions on the results that decide whether a run has passed."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vfctl.errors import UsageError
from vfctl.quantities import parse_duration_s, to_metric_unit

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_EXPRESSION: Final = re.compile(
    r"\s*(?P<path>[a-z_][a-z0-9_]*(?:\.[a-z0-9_-]+)*)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<limit>.*?)"
    r"(?:\s+after\s+(?P<after>.*))?\s*",
    re.IGNORECASE,
)
_NUMBER: Final = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_UNIT: Final = r"%|/s|/min|[A-Za-zµ]+(?:/s)?"
_CONSTANT: Final = re.compile(rf"(?P<number>[-+]?{_NUMBER})\s*(?P<unit>{_UNIT})?")
_RELATIVE: Final = re.compile(
    rf"(?:(?P<factor>{_NUMBER})\s*\*\s*)?baseline(?:\s*(?P<sign>[-+])\s*(?P<number>{_NUMBER})\s*(?P<unit>{_UNIT})?)?",
    re.IGNORECASE,
)

SIDES: Final = ("a", "b", "comparison")
"""What a path may begin with where two servers are compared."""

NO_DATA: Final = "no data"
NO_BASELINE: Final = "no data in the baseline"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition, such as `latency_ms.p95 < 30ms` or `latency_ms.p95 <= 1.2 * baseline + 1ms`.

    Attributes:
        expression: as it was written.
        path: where the number stands in the results; in those of two servers with `a.`, `b.` or `comparison.` before.
        operator: one of < <= > >= == !=.
        limit: what it is compared with, in the unit of the figure; added to the baseline's share if there is one.
        baseline_factor: how much of the baseline's figure; None for a gate that needs no baseline.
        after_s: of a gate that ends the run early: how long a measured stage lasts before it is judged. None for one
            that is judged at the end.
    """

    expression: str
    path: str
    operator: str
    limit: float
    baseline_factor: float | None = None
    after_s: float | None = None

    @property
    def side(self) -> str:
        """`a`, `b` or `comparison` if the path names one of two servers or their difference; else empty."""
        first = self.path.split(".", 1)[0]
        return first if first in SIDES else ""

    @property
    def figure(self) -> str:
        """The path in one server's results."""
        return self.path.split(".", 1)[1] if self.side else self.path

    def limit_with(self, baseline: Mapping[str, Any] | None) -> float | None:
        """What a figure is compared with, given the results of a baseline; None if those lack the figure."""
        if self.baseline_factor is None:
            return self.limit
        figure = None if baseline is None else look_up(baseline, self.figure)
        return None if figure is None else self.baseline_factor * figure + self.limit

    def holds(self, value: float, limit: float) -> bool:
        """Whether a figure passes."""
        return _OPERATORS[self.operator](value, limit)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of the results.

    Attributes:
        value: the number that was judged; None if there was none, which fails.
        limit: what it was compared with, in the same unit; None if the baseline has none, which fails.
        reason: why it failed where there was nothing to compare: `no data`, or `no data in the baseline`; empty else.
    """

    expression: str
    value: float | None
    passed: bool
    limit: float | None = None
    reason: str = ""


def parse_gate(expression: str) -> Gate:
    """Read `PATH OPERATOR NUMBER`, where the number may have a unit, or be `FACTOR * baseline + NUMBER`.

    Raises:
        UsageError: it is not of that form, or the unit does not fit the figure.
    """
    gate = _parse(expression)
    if gate.after_s is not None:
        raise UsageError(
            f"gate {gate.expression!r} is judged at the end, not after {gate.after_s:g} s",
            hint="--abort-gate, or abort_gates in a scenario, ends a run early",
        )
    return gate


def parse_abort_gate(expression: str) -> Gate:
    """Read `PATH OPERATOR NUMBER after TIME`, a gate that ends a hopeless run early.

    Raises:
        UsageError: it is not of that form, or its figure is not known before the end.
    """
    gate = _parse(expression)
    if gate.after_s is None:
        raise UsageError(
            f"abort gate {gate.expression!r} does not say after how much measured time it is judged",
            hint=f"for example --abort-gate '{gate.expression} after 10s'",
        )
    if gate.side == "comparison" or not gate.figure.startswith(_LIVE):
        raise UsageError(
            f"abort gate {gate.expression!r}: {gate.path} is not known before the end",
            hint="while a run lasts, latency_ms, clients and throughput are known",
        )
    return gate


_LIVE: Final = ("latency_ms.", "clients.", "throughput.")


def _parse(expression: str) -> Gate:
    match = _EXPRESSION.fullmatch(expression)
    if match is not None:
        path, after = match["path"], match["after"]
        written = _CONSTANT.fullmatch(match["limit"])
        factor = None
        if written is None:
            written = _RELATIVE.fullmatch(match["limit"])
            factor = float(written["factor"] or 1) if written is not None else None
        if written is not None:
            number = float(written["number"] or 0)
            if "sign" in written.re.groupindex and written["sign"] == "-":
                number = -number
            limit = to_metric_unit(number, written["unit"] or "", path)
            if math.isfinite(limit) and (factor is None or math.isfinite(factor)):
                option = f"the time of gate {expression!r}"
                after_s = None if after is None else parse_duration_s(after, option)
                return Gate(expression.strip(), path, match["operator"], limit, factor, after_s)
    raise UsageError(
        f"gate {expression!r} is not PATH OPERATOR NUMBER",
        hint="for example --gate 'latency_ms.p95 < 30ms' or --gate 'latency_ms.p95 <= 1.2 * baseline'; the paths are "
        "those of the --json results",
    )


def check_baseline(gates: Iterable[Gate], baseline: Mapping[str, Any] | None) -> None:
    """See that there is a baseline if a gate needs one.

    Raises:
        UsageError: there is none.
    """
    for gate in gates:
        if gate.baseline_factor is not None and baseline is None:
            raise UsageError(
                f"gate {gate.expression!r} needs a baseline", hint="add --baseline FILE, the --json results of a run"
            )


def judge(
    gates: Sequence[Gate], results: Mapping[str, Any], baseline: Mapping[str, Any] | None = None
) -> list[Verdict]:
    """Hold every gate against the results. A path that is missing, is no number or has no samples fails, and so does
    one that the baseline lacks.

    Args:
        baseline: results of an earlier run, for gates that are relative to it.
    """
    return [_judged(gate, look_up(results, gate.path), baseline) for gate in gates]


def judge_sides(
    gates: Sequence[Gate], sides: Mapping[str, Any], baseline: Mapping[str, Any] | None = None
) -> list[Verdict]:
    """The same for two servers: a path that does not begin with `a.`, `b.` or `comparison.` is B's.

    Args:
        sides: the results of `a` and `b`, and their `comparison`, if there is one.
        baseline: results of an earlier run; None: A's.
    """
    earlier = sides["a"] if baseline is None else baseline
    return [_judged(gate, look_up(sides, f"{gate.side or 'b'}.{gate.figure}"), earlier) for gate in gates]


def check_no_sides(gates: Iterable[Gate]) -> None:
    """See that no gate is of two servers, where one is tested.

    Raises:
        UsageError: one is.
    """
    for gate in gates:
        if gate.side:
            raise UsageError(
                f"gate {gate.expression!r}: {gate.side} is there only where two servers are compared",
                hint=f"--ab URL_A URL_B compares two; for one server it is {gate.figure}",
            )


def _judged(gate: Gate, value: float | None, baseline: Mapping[str, Any] | None) -> Verdict:
    limit = gate.limit_with(baseline)
    passed = value is not None and limit is not None and gate.holds(value, limit)
    reason = NO_DATA if value is None else NO_BASELINE if limit is None else ""
    return Verdict(gate.expression, value, passed, limit, reason)


def look_up(results: Mapping[str, Any], path: str) -> float | None:
    """The number at a path of the results; None if there is none, or if it counts faults of what has not come."""
    for figure, looked_at in _LOOKED_AT.items():
        if path.endswith(figure) and _least(results, path.removesuffix(figure), looked_at) == 0:
            return None
    return _number(results, path)


_LOOKED_AT: Final = {
    "frames.gaps": "latency_ms.count",
    "frames.duplicates": "latency_ms.count",
    "frames.reordered": "latency_ms.count",
    "frames.wrong": "frames.sampled",
    "generator.full_buffers": "frames.sampled",
}
"""By faults, the count of those that could have had them. Only TIMED updates have a sequence; each has a latency.
Buffers are looked at whenever a message is sampled."""


def _least(results: Mapping[str, Any], above: str, path: str) -> float | None:
    """A count; of repeated runs that of the run which has least."""
    side = above.split(".", 1)[0] if above.split(".", 1)[0] in SIDES else ""
    one = results.get(side) if side else results
    spread = one.get("spread") if isinstance(one, Mapping) else None
    of_runs = spread.get((above + path).removeprefix(f"{side}.")) if isinstance(spread, Mapping) else None
    least = _number(of_runs, "min") if isinstance(of_runs, Mapping) else None
    return _number(results, above + path) if least is None else least


def _number(results: Mapping[str, Any], path: str) -> float | None:
    found: Any = results
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return found if is_number and math.isfinite(found) else None
