"""Gates: conditions on the results that decide whether a run has passed."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vfctl.errors import UsageError

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_EXPRESSION: Final = re.compile(
    r"\s*(?P<path>[a-z_][a-z0-9_]*(?:\.[a-z0-9_-]+)*)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<limit>[-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition, such as `latency_ms.p95 < 30`.

    Attributes:
        expression: as it was written.
        path: where the number stands in the results.
        operator: one of < <= > >= == !=.
        limit: what it is compared with.
    """

    expression: str
    path: str
    operator: str
    limit: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of the results.

    Attributes:
        value: the number that was judged; None if there was none, which fails.
    """

    expression: str
    value: float | None
    passed: bool


def parse_gate(expression: str) -> Gate:
    """Read `PATH OPERATOR NUMBER`.

    Raises:
        UsageError: it is not of that form.
    """
    match = _EXPRESSION.fullmatch(expression)
    try:
        limit = float(match["limit"]) if match else 0.0
    except ValueError:
        match = None
    if match is None:
        raise UsageError(
            f"gate {expression!r} is not PATH OPERATOR NUMBER",
            hint="for example --gate 'latency_ms.p95 < 30'; the paths are those of the --json results",
        )
    return Gate(expression.strip(), match["path"], match["operator"], limit)


def judge(gates: Sequence[Gate], results: Mapping[str, Any]) -> list[Verdict]:
    """Hold every gate against the results. A path that is missing, is no number or has no samples fails."""
    verdicts = []
    for gate in gates:
        value = _look_up(results, gate.path)
        passed = value is not None and _OPERATORS[gate.operator](value, gate.limit)
        verdicts.append(Verdict(gate.expression, value, passed))
    return verdicts


def _look_up(results: Mapping[str, Any], path: str) -> float | None:
    found: Any = results
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return found if is_number else None
