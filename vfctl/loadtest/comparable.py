"""From results to what can be compared: their histograms, and whether both are of the same test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import numpy as np

from vfctl.errors import InputError
from vfctl.loadtest.comparison import Counts, Run
from vfctl.loadtest.results import SCHEMA
from vfctl.metrics.hdr import decode_counts
from vfctl.metrics.histogram import upper_edge_us

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


def check_comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What people should know before they believe a comparison.

    Raises:
        InputError: the tests were different ones.
    """
    for what, of in _MUST_AGREE.items():
        if of(a) != of(b):
            raise InputError(f"these cannot be compared: {what} of A is {of(a)}, of B {of(b)}")
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
        if document["interrupted"] or document["aborted"]:
            told.append(f"{name} was ended early")
        if document["generator"]["advice"]:
            told.append(f"{name}: {document['generator']['verdict']}")
        if lost := document["clients"]["failed"] + document["clients"]["lost"]:
            told.append(f"{name}: {lost} clients failed or were lost")
    return told


def _encoding(document: Mapping[str, Any]) -> str:
    return parse_qs(urlsplit(str(document["url"])).query).get("encoding", ["raw"])[-1]


_MUST_AGREE: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "the number of clients": lambda document: document["clients"]["target"],
    "the encoding": _encoding,
    "the mix": lambda document: ", ".join(document["roles"]),
    "the clock of latencies": lambda document: document["latency_clock"],
}
_SHOULD_AGREE: Final[dict[str, Callable[[Mapping[str, Any]], float]]] = {
    "the measured time in s": lambda document: document["duration_s"],
    "messages a second and client": lambda document: document["throughput"]["messages_per_s_per_client"],
    "bytes a second and client": lambda document: document["throughput"]["bytes_per_s_per_client"],
}
