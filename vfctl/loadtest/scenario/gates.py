"""Gates: conditions on the results that decide whether a run passes. How they are written."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

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
"""What a path may begin with if two servers are compared."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition, such as `latency_ms.p95 < 30ms` or `latency_ms.p95 <= 1.2 * baseline + 1ms`.

    Attributes:
        expression: as it was written.
        path: of a metric in the results; for two servers it may begin with `a.`, `b.` or `comparison.`.
        operator: one of < <= > >= == !=.
        limit: what the metric is compared with, in its unit; of a relative gate, what is added to the baseline's share.
        baseline_factor: the share of the baseline's metric; None if the gate is not relative.
        after_s: of an abort gate, the measured time after which it is judged; None if it is judged at the end.
    """

    expression: str
    path: str
    operator: str
    limit: float
    baseline_factor: float | None = None
    after_s: float | None = None

    @property
    def side(self) -> str:
        """`a`, `b` or `comparison` if the path begins with it; otherwise empty."""
        first = self.path.split(".", 1)[0]
        return first if first in SIDES else ""

    @property
    def metric(self) -> str:
        """The path in one server's results."""
        return self.path.split(".", 1)[1] if self.side else self.path

    def holds(self, value: float, limit: float) -> bool:
        """Whether a value passes."""
        return _OPERATORS[self.operator](value, limit)


def parse_gate(expression: str) -> Gate:
    """Parse `PATH OPERATOR NUMBER`. The number may have a unit, or be `FACTOR * baseline + NUMBER`.

    Raises:
        UsageError: it has another form, or the unit does not fit the metric.
    """
    gate = _parse(expression)
    if gate.after_s is not None:
        raise UsageError(
            f"gate {gate.expression!r} is judged at the end, not after {gate.after_s:g} s",
            hint="--abort-gate, or abort_gates in a scenario, ends a run early",
        )
    return gate


def parse_abort_gate(expression: str) -> Gate:
    """Parse `PATH OPERATOR NUMBER after TIME`, a gate that ends a hopeless run early.

    Raises:
        UsageError: it has another form, or its metric is not known before the end.
    """
    gate = _parse(expression)
    if gate.after_s is None:
        raise UsageError(
            f"abort gate {gate.expression!r} does not say after how much measured time it is judged",
            hint=f"for example --abort-gate '{gate.expression} after 10s'",
        )
    if gate.side == "comparison" or not gate.metric.startswith(_LIVE):
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
