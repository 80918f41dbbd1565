"""Results that an earlier run has written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import BaseModel, ValidationError

from vfctl.errors import InputError, UsageError
from vfctl.loadtest.results import ab
from vfctl.loadtest.results.build import SCHEMA
from vfctl.loadtest.results.model import AbResults, LoadtestResults

_OLDER: Final = ("vfctl.loadtest/1", "vfctl.loadtest/2")
"""Have the same figures by the same paths, and no histograms."""

_OBJECTS: Final = ("clients", "latency_ms", "throughput", "frames", "roles")
"""What older versions wrote, too, but not all of it from the first on."""

_MODELS: Final[dict[str, type[BaseModel]]] = {SCHEMA: LoadtestResults, ab.SCHEMA: AbResults}


def read_results(path: Path) -> dict[str, Any]:
    """The results in a file that `vfctl loadtest --json` has written; also of older versions.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    return _read(path, (SCHEMA, *_OLDER))


def read_pair(a: Path, b: Path | None) -> tuple[tuple[dict[str, Any], dict[str, Any]], bool]:
    """Two results to compare, and whether they are of the same moments: those in two files, or those of the two servers
    in the one file that `vfctl loadtest --ab` has written.

    Raises:
        InputError: one cannot be read, or holds something else.
        UsageError: one file of a single server, or two of which one has two servers.
    """
    first = _read(a, (SCHEMA, *_OLDER, ab.SCHEMA))
    if first["schema"] == ab.SCHEMA:
        if b is not None:
            raise UsageError(f"{a} has the results of two servers", hint=f"vfctl compare {a} compares these two")
        return (first["a"], first["b"]), True
    if b is None:
        raise UsageError(f"{a} has the results of one server, there is nothing to compare them with")
    return (first, read_results(b)), False


def _read(path: Path, schemas: tuple[str, ...]) -> dict[str, Any]:
    try:
        document: Any = json.loads(path.read_text("utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}", hint="was it cut off?") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema not in schemas:
        what = f"of schema {schema!r}" if schema else "no results of a load test"
        hint = "write it with `vfctl loadtest --json FILE`"
        if schema == ab.SCHEMA:
            hint = "it has two servers' results; `vfctl compare` reads it, and --gate of the run itself judges it"
        raise InputError(f"{path} is {what}, not {SCHEMA}", hint=hint)
    if schema in _MODELS:
        _check(document, _MODELS[schema], path)
    for part in _OBJECTS:
        if not isinstance(document.get(part, {}), dict):
            raise InputError(f"{path} is damaged: {part} is no object")
    return dict(document)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _check(document: Mapping[str, Any], model: type[BaseModel], path: Path) -> None:
    try:
        model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} is damaged: {where}: {first['msg'].lower()}") from None
