"""Which results can be compared: those of the same test, and their latencies; two servers of one run, compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from vfctl.client.url import encoding_of, with_options
from vfctl.errors import InputError
from vfctl.loadtest.results.comparison import Counts, Question, RunLatencies, compare_runs
from vfctl.loadtest.results.gate_verdicts import Judged, judge_sides, with_verdicts
from vfctl.loadtest.results.model import AbResults, LoadtestResults, OlderResults, Plan
from vfctl.loadtest.scenario.gates import Gate
from vfctl.loadtest.scenario.model import Scenario
from vfctl.metrics.histogram import decode_counts, upper_edge_us

_SIMILAR: Final = 0.1
"""Rates and sizes that differ by more cause a warning."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """What two results have in common if they are of the same test; None for what is not known of one."""

    number_of_clients: int | None
    encoding: str
    roles: str | None
    mix: str | None
    course: str | None
    clock_of_latencies: str | None


def check_same_test(
    a: LoadtestResults | OlderResults, b: LoadtestResults | OlderResults, names: tuple[str, str] = ("A", "B")
) -> None:
    """Check that two results are of the same test.

    Args:
        names: what messages call the two.

    Raises:
        InputError: they are not.
    """
    _check_identities(_identity_of(a), _identity_of(b), names)


def check_baseline_fits(baseline: LoadtestResults | OlderResults, scenario: Scenario, url: str | None) -> None:
    """Check before the run that a baseline is of the same test, as far as that is known by then.

    Raises:
        InputError: it is of another one.
    """
    planned = _Identity(
        [step for step in scenario.steps() if step.measured][-1].clients,
        encoding_of(with_options(url, encoding=scenario.encoding)) if url else scenario.encoding or "raw",
        ", ".join(role.label for role in scenario.roles),
        *_mix_and_course(Plan.model_validate(scenario.described())),
        None,
    )
    _check_identities(_identity_of(baseline), planned, ("the baseline", "this run"))


def check_comparable(a: LoadtestResults, b: LoadtestResults) -> list[str]:
    """What people should know before they believe a comparison.

    Raises:
        InputError: the tests were different ones.
    """
    check_same_test(a, b)
    warnings = [
        f"{what} of A is {of_a:.3g}, of B {of_b:.3g}"
        for what, of_a, of_b in (
            ("the measured time in s", a.duration_s, b.duration_s),
            (
                "messages a second and client",
                a.throughput.messages_per_s_per_client,
                b.throughput.messages_per_s_per_client,
            ),
            ("bytes a second and client", a.throughput.bytes_per_s_per_client, b.throughput.bytes_per_s_per_client),
        )
        if abs(of_a - of_b) > _SIMILAR * max(of_a, of_b)
    ]
    if (a.environment.machine, a.environment.cpus) != (b.environment.machine, b.environment.cpus):
        warnings.append("they are from different machines")
    for name, results in (("A", a), ("B", b)):
        if results.ended_early:
            warnings.append(f"{name} was ended early")
        if results.generator.advice:
            warnings.append(f"{name}: {results.generator.verdict}")
        if lost := results.clients.failed + results.clients.lost:
            warnings.append(f"{name}: {lost} clients failed or were lost")
    return warnings


def latencies_of(results: LoadtestResults | OlderResults, name: str) -> list[RunLatencies]:
    """The latencies of all runs that results are of.

    Args:
        name: what messages call the results.

    Raises:
        InputError: the results are too old, damaged, too short or have no latencies.
    """
    if isinstance(results, OlderResults):
        raise InputError(
            f"{name} is of schema {results.version}, which has no histograms, and cannot be compared",
            hint="measure again with this vfctl; `vfctl gate` can still judge the old metrics",
        )
    try:
        return [
            run_latencies([decode_counts(text) for block in run.blocks for text in block.latency_ms])
            for run in results.runs
        ]
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def run_latencies(blocks: Sequence[Counts]) -> RunLatencies:
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
    return RunLatencies(np.array([upper_edge_us(bucket) for bucket in used.tolist()], np.int64), counts[:, used])


def compare_sides(
    a: LoadtestResults,
    b: LoadtestResults,
    gates: Sequence[Gate],
    baseline: LoadtestResults | OlderResults | None = None,
) -> AbResults:
    """The results of two servers of one run, compared, with the gates judged: on B, unless their path begins with `a.`
    or `comparison.`, and relative to A if there is no other baseline.

    `comparison` is None if there is too little to compare; `warnings` say why.
    """
    comparison = None
    try:
        warnings = check_comparable(a, b)
        comparison = compare_runs(latencies_of(a, "A"), latencies_of(b, "B"), Question(), paired=True)
    except InputError as error:
        warnings = [error.message]
    sides: dict[str, Judged | None] = {"a": a, "b": b, "comparison": comparison}
    verdicts = with_verdicts(b, judge_sides(gates, sides, baseline)).gates
    of_a, of_b = (
        [verdict for gate, verdict in zip(gates, verdicts, strict=True) if (gate.side or "b") == side] for side in "ab"
    )
    reasons = {name: side.failure for name, side in (("A", a), ("B", b)) if side.failure}
    return AbResults(
        schema="vfctl.ab/1",
        comparison=comparison,
        warnings=warnings,
        gates=verdicts,
        failure=a.failure if a.failure == b.failure else "; ".join(f"{name}: {why}" for name, why in reasons.items()),
        a=a.model_copy(update={"gates": of_a}),
        b=b.model_copy(update={"gates": of_b}),
    )


def _check_identities(a: _Identity, b: _Identity, names: tuple[str, str]) -> None:
    for field in fields(_Identity):
        of_a, of_b = getattr(a, field.name), getattr(b, field.name)
        if of_a != of_b and None not in (of_a, of_b):
            what = field.name.replace("_", " ")
            raise InputError(
                f"these cannot be compared: the {what} of {names[0]} is {of_a}, of {names[1]} is {of_b}",
            )


def _identity_of(results: LoadtestResults | OlderResults) -> _Identity:
    clients = results.clients.get("target") if isinstance(results, OlderResults) else results.clients.target
    return _Identity(
        clients,
        encoding_of(results.url),
        None if results.roles is None else ", ".join(results.roles),
        *_mix_and_course(None if isinstance(results, OlderResults) else results.scenario),
        results.latency_clock,
    )


def _mix_and_course(asked: Plan | None) -> tuple[str | None, str | None]:
    """What the clients do, with all their roles' settings, and the stages; None where results do not say.

    The length of a plain hold may differ: the measured time tells of it.
    """
    if asked is None:
        return None, None
    roles = []
    for role in asked.roles:
        settings = {name: value for name, value in role.model_dump().items() if value not in ("", None)}
        kind = settings.pop("role")
        roles.append(f"{kind} ({', '.join(f'{name} {json.dumps(value)}' for name, value in settings.items())})")
    stages = (
        f"{stage.name}{', measured' if stage.measured else ''}: {stage.kind}, {stage.clients} clients"
        for stage in asked.stages
    )
    return "; ".join(roles), "; ".join(stages)
