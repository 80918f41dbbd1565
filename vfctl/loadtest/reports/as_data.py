"""Reports for programs: the results as JSON, and the time series as CSV, a row a second."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from pydantic import BaseModel

from vfctl.loadtest.results.model import AbResults, LoadtestResults, SecondMetrics


def render_json(document: BaseModel) -> str:
    """One JSON object, as files of results have it; `vfctl schema` prints its schema."""
    return json.dumps(document.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n"


def render_csv(results: LoadtestResults | AbResults) -> str:
    """A header and one row for each of `seconds`; empty where there was no sample.

    Of two servers it is the rows of A, then those of B, with `side` before them.
    """
    sides: dict[str, Sequence[SecondMetrics]]
    if isinstance(results, AbResults):
        sides, first = {"a": results.a.seconds, "b": results.b.seconds}, ["side"]
    else:
        sides, first = {"": results.seconds}, []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*first, *SecondMetrics.model_fields])
    for side, seconds in sides.items():
        for second in seconds:
            values = (int(value) if isinstance(value, bool) else value for _, value in second)
            writer.writerow([*([side] if first else []), *values])
    return text.getvalue()
