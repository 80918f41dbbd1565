"""From results to what can be compared: their histograms, and whether both are of the same test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from vfctl.client.url import encoding_of, with_options
from vfctl.errors import InputError
from vfctl.loadtest.results.build import SCHEMA
from vfctl.loadtest.results.comparison import Counts, Run
from vfctl.loadtest.results.repeats import ended_early
from vfctl.loadtest.scenario.model import Scenario
from vfctl.metrics.histogram import decode_counts, upper_edge_us

_SIMILAR: Final = 0.1
"""Rates and sizes that differ by more are told of."""


def runs_of(document: Mapping[str, Any], name: str) -> list[Run]:
    """The latencies of all runs that results are of.

    Args:
        name: what messages call the results.

    Raises:
        InputError: the results are too old, damaged, too short or have no latencies.
    """
    if document["schema"] != SCHEMA:
        raise InputError(
            f"{name} is of schema {document['schema']}, which has no histograms, and cannot be compared",
            hint="measure again with this vfctl; `vfctl gate` can still judge the old figures",
        )
    try:
        return [_run([text for stage in run["blocks"] for text in stage["latency_ms"]]) for run in document["runs"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{name} is damaged: {error} is missing") from None
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def make_run(blocks: Sequence[Counts]) -> Run:
    """From the counts of each block, int64 [buckets] in the histogram's layout.

    Raises:
        ValueError: fewer than two blocks have any.
    """
    if sum(bool(block.any()) for block in blocks) < 2:
        raise ValueError("a run without latencies in at least two seconds of measured time cannot be compared")
    counts = np.zeros((len(blocks), max(map(len, blocks))), np.int64)
    for row, block in zip(counts, blocks, strict=True):
        row[: len(block)] = block
    used = np.flatnonzero(counts.any(axis=0))
    return Run(np.array([upper_edge_us(bucket) for bucket in used.tolist()], np.int64), counts[:, used])


def _run(encoded: Sequence[str]) -> Run:
    return make_run([decode_counts(text) for text in encoded])


def check_baseline_fits(baseline: Mapping[str, Any], scenario: Scenario, url: str | None) -> None:
    """See before the run that a baseline is of the same test, as far as that is known by then.

    Raises:
        InputError: it is of another one.
    """
    last = [step for step in scenario.course() if step.measured][-1]
    asked = {
        "clients": {"target": last.clients},
        "url": with_options(url, encoding=scenario.encoding) if url else f"?encoding={scenario.encoding or 'raw'}",
        "roles": [role.label for role in scenario.roles],
        "scenario": scenario.described(),
    }
    check_same_test(baseline, asked, ("the baseline", "this run"))


def check_same_test(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str] = ("A", "B")) -> None:
    """See that two results are of the same test.

    Args:
        names: what messages call the two.

    Raises:
        InputError: they are not.
    """
    for what, of in _MUST_AGREE.items():
        of_a, of_b = (_told(of, document) for document in (a, b))
        if of_a != of_b and None not in (of_a, of_b):
            of_which = [f"of {name} is {value}" for name, value in zip(names, (of_a, of_b), strict=True)]
            raise InputError(f"these cannot be compared: {what} {of_which[0]}, {of_which[1]}")


def _told(of: Callable[[Mapping[str, Any]], Any], document: Mapping[str, Any]) -> Any:
    """None where results do not tell, as older ones do not of all."""
    try:
        return of(document)
    except KeyError:
        return None


def check_comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What people should know before they believe a comparison.

    Raises:
        InputError: the tests were different ones.
    """
    check_same_test(a, b)
    told = [
        f"{what} of A is {of(a):.3g}, of B {of(b):.3g}"
        for what, of in _SHOULD_AGREE.items()
        if abs(of(a) - of(b)) > _SIMILAR * max(of(a), of(b))
    ]
    if (
        a["environment"]["machine"] != b["environment"]["machine"]
        or a["environment"]["cpus"] != b["environment"]["cpus"]
    ):
        told.append("they are from different machines")
    for name, document in (("A", a), ("B", b)):
        if ended_early(document):
            told.append(f"{name} was ended early")
        if document["generator"]["advice"]:
            told.append(f"{name}: {document['generator']['verdict']}")
        if lost := document["clients"]["failed"] + document["clients"]["lost"]:
            told.append(f"{name}: {lost} clients failed or were lost")
    return told


def _encoding(document: Mapping[str, Any]) -> str:
    return encoding_of(str(document["url"]))


def _mix(document: Mapping[str, Any]) -> str | None:
    """What the clients do, with all their roles' settings; None where results do not tell, as older ones did not."""
    scenario = document.get("scenario")
    if scenario is None:
        return None
    roles = [{key: value for key, value in role.items() if value not in ("", None)} for role in scenario["roles"]]
    return "; ".join(_written(role) for role in roles)


def _course(document: Mapping[str, Any]) -> str | None:
    """The stages; the length of a plain hold may differ, and is told of with the measured time."""
    scenario = document.get("scenario")
    if scenario is None:
        return None
    return "; ".join(
        f"{stage['name']}{', measured' if stage['measured'] else ''}: {stage['kind']}, {stage['clients']} clients"
        for stage in scenario["stages"]
    )


def _written(role: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {json.dumps(value)}" for key, value in role.items() if key != "role")
    return f"{role['role']} ({settings})"


_MUST_AGREE: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "the number of clients": lambda document: document["clients"]["target"],
    "the encoding": _encoding,
    "the roles": lambda document: ", ".join(document["roles"]),
    "the mix": _mix,
    "the course": _course,
    "the clock of latencies": lambda document: document.get("latency_clock"),
}
_SHOULD_AGREE: Final[dict[str, Callable[[Mapping[str, Any]], float]]] = {
    "the measured time in s": lambda document: document["duration_s"],
    "messages a second and client": lambda document: document["throughput"]["messages_per_s_per_client"],
    "bytes a second and client": lambda document: document["throughput"]["bytes_per_s_per_client"],
}
