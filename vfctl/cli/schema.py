"""`vfctl schema`."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer


class Documents(StrEnum):
    """What there is a schema of."""

    LOADTEST = "loadtest"
    AB = "ab"
    FIND = "find"
    NOISE = "noise"
    COMPARE = "compare"
    BANDWIDTH = "bandwidth"


def command(
    document: Annotated[
        Documents,
        typer.Argument(help="What writes it: loadtest, loadtest --ab, loadtest --find, noise, compare, bandwidth."),
    ],
) -> None:
    """Print the JSON Schema of a document that vfctl writes."""
    from vfctl.loadtest.results.model import schema_of
    from vfctl.terminal.output import until_reader_leaves

    with until_reader_leaves():
        sys.stdout.write(json.dumps(schema_of(document.value), indent=2) + "\n")
