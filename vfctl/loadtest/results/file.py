"""Reads files of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from vfctl.errors import InputError, UsageError
from vfctl.loadtest.results.model import AbResults, LoadtestResults, OlderResults

_LOADTEST: Final[dict[str, type[LoadtestResults | OlderResults]]] = {
    "vfctl.loadtest/3": LoadtestResults,
    "vfctl.loadtest/2": OlderResults,
    "vfctl.loadtest/1": OlderResults,
}
_AB: Final = "vfctl.ab/1"


def read_results(path: Path) -> LoadtestResults | OlderResults:
    """The results in a file that `vfctl loadtest --json` has written; also of older versions.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    found = _read(path, ab=False)
    assert not isinstance(found, AbResults)
    return found


def read_pair(
    a: Path, b: Path | None
) -> tuple[tuple[LoadtestResults | OlderResults, LoadtestResults | OlderResults], bool]:
    """Two results to compare, and whether they are of the same moments: those in two files, or those of the two servers
    in the one file that `vfctl loadtest --ab` has written.

    Raises:
        InputError: one cannot be read, or holds something else.
        UsageError: one file of a single server, or two of which one has two servers.
    """
    first = _read(a, ab=True)
    if isinstance(first, AbResults):
        if b is not None:
            raise UsageError(f"{a} has the results of two servers", hint=f"vfctl compare {a} compares these two")
        return (first.a, first.b), True
    if b is None:
        raise UsageError(f"{a} has the results of one server, there is nothing to compare them with")
    return (first, read_results(b)), False


def _read(path: Path, *, ab: bool) -> LoadtestResults | OlderResults | AbResults:
    try:
        document: Any = json.loads(path.read_text("utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}", hint="was it cut off?") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    model: type[LoadtestResults | OlderResults | AbResults] | None = _LOADTEST.get(str(schema))
    if schema == _AB and ab:
        model = AbResults
    if model is None:
        what = f"of schema {schema!r}" if schema else "no results of a load test"
        hint = "write it with `vfctl loadtest --json FILE`"
        if schema == _AB:
            hint = "it has two servers' results; `vfctl compare` reads it, and --gate of the run itself judges it"
        raise InputError(f"{path} is {what}, not vfctl.loadtest/3", hint=hint)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} is damaged: {where}: {first['msg'].lower()}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
