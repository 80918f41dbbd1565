"""Two servers in one run: their results, what decides between them, and the gates, as one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from vfctl.errors import InputError, UsageError
from vfctl.loadtest.results.build import Results, set_verdicts
from vfctl.loadtest.results.comparable import check_comparable, runs_of
from vfctl.loadtest.results.comparison import Question, compare_runs
from vfctl.loadtest.scenario.gates import Gate, check_baseline, judge_sides

SCHEMA: Final = "vfctl.ab/1"


def check_gates(gates: Sequence[Gate], baseline: Mapping[str, Any] | None) -> None:
    """See that every gate that is relative to something has it: B's may be to A.

    Raises:
        UsageError: one of A, or of the comparison, has nothing.
    """
    for gate in gates:
        if gate.baseline_factor is not None and gate.side == "comparison":
            raise UsageError(f"gate {gate.expression!r}: a comparison has no baseline, it is of A and B")
        if gate.side == "a":
            check_baseline([gate], baseline)


def ab_document(
    results: Sequence[Results], gates: Sequence[Gate], baseline: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The object of schema `vfctl.ab/1`, with the gates judged: on B, unless their path begins with `a.` or
    `comparison.`, and relative to A if there is no other baseline.

    `comparison` is None if there is too little to compare; `warnings` say why.

    Args:
        results: A's and B's.
    """
    a, b = (each.to_json() for each in results)
    comparison = None
    try:
        warnings = check_comparable(a, b)
        comparison = asdict(compare_runs(runs_of(a, "A"), runs_of(b, "B"), Question(), paired=True))
    except InputError as error:
        warnings = [error.message]
    document: dict[str, Any] = {"schema": SCHEMA, "comparison": comparison, "warnings": warnings, "gates": []}
    document |= {"failure": _failure(a["failure"], b["failure"]), "a": a, "b": b}
    set_verdicts(document, judge_sides(gates, document, baseline), b["aborted"])
    for name, side in (("a", a), ("b", b)):
        side["gates"] = [
            verdict for gate, verdict in zip(gates, document["gates"], strict=True) if (gate.side or "b") == name
        ]
    return document


def _failure(a: str | None, b: str | None) -> str | None:
    if a == b:
        return a
    return "; ".join(f"{name}: {why}" for name, why in (("A", a), ("B", b)) if why)
