"""The time series as CSV, a row a second."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from vfctl.loadtest.results.performance import Second


def render(document: Mapping[str, Any]) -> str:
    """A header and one row for each of `seconds`, with the names of `Second`; empty where there was no sample.

    Args:
        document: results of schema `vfctl.loadtest`.
    """
    return _table(_NAMES, map(_row, document["seconds"]))


def render_ab(document: Mapping[str, Any]) -> str:
    """The same of two servers: those of A, then those of B, with `side` before them.

    Args:
        document: results of schema `vfctl.ab`.
    """
    rows = ({"side": side, **_row(second)} for side in ("a", "b") for second in document[side]["seconds"])
    return _table(["side", *_NAMES], rows)


_NAMES: Final = [field.name for field in fields(Second)]


def _row(second: Mapping[str, Any]) -> dict[str, Any]:
    return {**second, "measured": int(second["measured"])}


def _table(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
