"""Results that an earlier run has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from vfctl.errors import InputError
from vfctl.loadtest.results import SCHEMA

_OLDER: Final = ("vfctl.loadtest/1", "vfctl.loadtest/2")
"""Have the same figures by the same paths, and no histograms."""


def read_results(path: Path) -> dict[str, Any]:
    """The results in a file that `vfctl loadtest --json` has written; also of older versions.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        document: Any = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema not in (SCHEMA, *_OLDER):
        what = f"of schema {schema!r}" if schema else "no results of a load test"
        raise InputError(f"{path} is {what}, not {SCHEMA}", hint="write it with `vfctl loadtest --json FILE`")
    return dict(document)
