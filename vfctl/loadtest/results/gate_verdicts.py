"""Gates on results: which metrics there are, and whether the gates hold."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from vfctl.errors import UsageError
from vfctl.loadtest.results.model import (
    Clients,
    Comparison,
    Described,
    GateVerdict,
    Latency,
    LoadtestResults,
    OlderResults,
)
from vfctl.loadtest.scenario.gates import Gate

NO_DATA: Final = "no data"
NO_BASELINE: Final = "no data in the baseline"

_ANY: Final = "*"
"""Stands for names that a run chooses: of roles, and of kinds of errors."""


class LiveMetrics(Described):
    """What abort gates judge: the metrics of a measured stage that are known while it lasts, by the same paths."""

    latency_ms: Latency
    clients: Clients | None
    throughput: dict[str, float | None]


Judged = LoadtestResults | OlderResults | LiveMetrics | Comparison
"""What a gate's path leads into."""


def check_path(gate: Gate, roles: Collection[str] | None = None) -> None:
    """Check that results have the metric that a gate names: a typing error is found before the run.

    Args:
        roles: the roles of the test; None if they are not known yet.

    Raises:
        UsageError: there is no such metric, or it is no number; the hint suggests the closest name.
    """
    known = metrics(Comparison if gate.side == "comparison" else LoadtestResults)
    path = gate.metric.split(".")
    above = path[0]
    if any(_is_under(path, pattern.split(".")) for pattern in known):
        if above == "roles" and roles is not None and len(path) > 1 and path[1] not in roles:
            raise UsageError(f"gate {gate.expression!r}: there is no role {path[1]}; {_meant(path[1], sorted(roles))}")
        return
    names = [pattern.replace(_ANY, path[1] if above == "roles" and len(path) > 2 else "NAME") for pattern in known]
    raise UsageError(f"gate {gate.expression!r}: results have no metric {gate.metric}", hint=_meant(gate.metric, names))


def check_baseline(gates: Iterable[Gate], has_baseline: bool, *, two_servers: bool = False) -> None:
    """Check that what gates refer to is there: a baseline, and a second server. If two servers are tested, a gate of B
    without a baseline is relative to A.

    Raises:
        UsageError: a gate is relative and there is nothing that it is relative to, or it names a server that is not
            tested.
    """
    for gate in gates:
        if gate.side and not two_servers:
            raise UsageError(
                f"gate {gate.expression!r}: {gate.side} is there only where two servers are compared",
                hint=f"--ab URL_A URL_B compares two; for one server it is {gate.metric}",
            )
        if gate.baseline_factor is None:
            continue
        if gate.side == "comparison":
            raise UsageError(f"gate {gate.expression!r}: a comparison has no baseline, it is of A and B")
        if not has_baseline and not (two_servers and gate.side != "a"):
            raise UsageError(
                f"gate {gate.expression!r} needs a baseline", hint="add --baseline FILE, the --json results of a run"
            )


def judge(gates: Sequence[Gate], results: Judged, baseline: Judged | None = None) -> list[GateVerdict]:
    """Judge every gate. One fails if its metric is missing, is no number or has no samples, in the results or in the
    baseline.

    Args:
        baseline: results of an earlier run, for gates that are relative to it.
    """
    return [_verdict(gate, results, baseline) for gate in gates]


def judge_sides(
    gates: Sequence[Gate], sides: Mapping[str, Judged | None], baseline: Judged | None = None
) -> list[GateVerdict]:
    """Judge gates on two servers: a path that does not begin with `a.`, `b.` or `comparison.` is B's.

    Args:
        sides: the results of `a` and `b`, and their `comparison`, if there is one.
        baseline: results of an earlier run; None: A's.
    """
    earlier = sides["a"] if baseline is None else baseline
    return [_verdict(gate, sides.get(gate.side or "b"), earlier) for gate in gates]


def judged(
    results: LoadtestResults, gates: Sequence[Gate], baseline: LoadtestResults | OlderResults | None = None
) -> LoadtestResults:
    """The results with the verdicts of these gates."""
    return with_verdicts(results, judge(gates, results, baseline))


def with_verdicts(results: LoadtestResults, verdicts: Iterable[GateVerdict]) -> LoadtestResults:
    """The results with these verdicts. The gate that aborted the run has failed, whatever was measured after that."""
    aborted = results.aborted
    final = [aborted if aborted and each.expression == aborted.expression else each for each in verdicts]
    return results.model_copy(update={"gates": final})


def look_up(results: Judged, path: str) -> float | None:
    """The number at a path of the results; None if there is none, or if it counts faults that nothing looked for."""
    for metric, evidence in _EVIDENCE.items():
        if path.endswith(metric) and _fewest(results, path.removesuffix(metric) + evidence) == 0:
            return None
    return _number(results, path)


_EVIDENCE: Final = {
    "frames.gaps": "latency_ms.count",
    "frames.duplicates": "latency_ms.count",
    "frames.reordered": "latency_ms.count",
    "frames.wrong": "frames.sampled",
    "generator.full_buffers": "frames.sampled",
}
"""By fault, the count of messages that were checked for it. Only TIMED updates have a sequence number, and each of
them has a latency. The receive buffer is checked whenever a message is sampled."""


def _verdict(gate: Gate, results: Judged | None, baseline: Judged | None) -> GateVerdict:
    value = None if results is None else look_up(results, gate.metric)
    limit: float | None = gate.limit
    if gate.baseline_factor is not None:
        earlier = None if baseline is None else look_up(baseline, gate.metric)
        limit = None if earlier is None else gate.baseline_factor * earlier + gate.limit
    passed = value is not None and limit is not None and gate.holds(value, limit)
    reason = NO_DATA if value is None else NO_BASELINE if limit is None else ""
    return GateVerdict(expression=gate.expression, value=value, passed=passed, limit=limit, reason=reason)


def _fewest(results: Judged, path: str) -> float | None:
    """A count; of repeated runs that of the run with the fewest."""
    spread = results.spread if isinstance(results, LoadtestResults) else None
    return spread[path].min if spread and path in spread else _number(results, path)


def _number(results: Judged, path: str) -> float | None:
    found: Any = results
    for key in path.split("."):
        found = dict(found).get(key) if isinstance(found, BaseModel | Mapping) else None
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return found if is_number and math.isfinite(found) else None


@cache
def metrics(model: type[BaseModel]) -> tuple[str, ...]:
    """The paths of all numbers of a document, with `*` for a name that is not known beforehand."""
    return tuple(path for path in _walk(model) if not path.startswith(("aborted.", "spread.")))


def _walk(annotation: Any) -> Iterator[str]:
    """The rest of each path from here on."""
    kind = _without_none(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from (f"{name}.{rest}".rstrip(".") for rest in _walk(field.annotation))
    elif get_origin(kind) is dict:
        yield from (f"{_ANY}.{rest}".rstrip(".") for rest in _walk(get_args(kind)[1]))
    elif kind in (int, float):
        yield ""


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return kinds[0] if len(kinds) == 1 else annotation
    return annotation


def _is_under(path: list[str], pattern: list[str]) -> bool:
    return len(path) == len(pattern) and all(wanted in (_ANY, part) for part, wanted in zip(path, pattern, strict=True))


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    last = [
        each for each in known if each.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1] and not each.startswith("roles")
    ]
    return f"it could be {', '.join(last[:3] or known[:3])}"
