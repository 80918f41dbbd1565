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


def command(
    document: Annotated[Documents, typer.Argument(help="loadtest: what `vfctl loadtest --json` writes.")],
) -> None:
    """Print the JSON Schema of a document that vfctl writes."""
    from vfctl.loadtest.reports.schema import results_schema

    assert document is Documents.LOADTEST
    sys.stdout.write(json.dumps(results_schema(), indent=2) + "\n")
