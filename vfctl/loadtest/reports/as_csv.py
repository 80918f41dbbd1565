"""The time series as CSV, a row a second."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vfctl.loadtest.time_series import Second


def render(document: Mapping[str, Any]) -> str:
    """A header and one row for each of `seconds`, with the names of `Second`; empty where there was no sample.

    Args:
        document: results of schema `vfctl.loadtest`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Second)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**second, "measured": int(second["measured"])} for second in document["seconds"])
    return text.getvalue()
