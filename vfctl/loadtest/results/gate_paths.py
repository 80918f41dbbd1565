"""Which figures there are for gates: a typing error should be known before the run, not be "no data" after it."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from vfctl.errors import UsageError
from vfctl.loadtest.results.model import Comparison, LoadtestResults
from vfctl.loadtest.scenario.gates import Gate

_ANY: Final = "*"
"""Stands for names that a run chooses: of roles, and of kinds of errors."""


def check_path(gate: Gate, roles: Collection[str] | None = None) -> None:
    """See that results have such a figure.

    Args:
        roles: that there are; None if that is not known yet.

    Raises:
        UsageError: they have none, or it is no number; with the name that was meant, perhaps.
    """
    known = figures(Comparison if gate.side == "comparison" else LoadtestResults)
    path = gate.figure.split(".")
    above = path[0]
    if any(_is_under(path, pattern.split(".")) for pattern in known):
        if above == "roles" and roles is not None and len(path) > 1 and path[1] not in roles:
            raise UsageError(f"gate {gate.expression!r}: there is no role {path[1]}; {_meant(path[1], sorted(roles))}")
        return
    names = [pattern.replace(_ANY, path[1] if above == "roles" and len(path) > 2 else "NAME") for pattern in known]
    raise UsageError(f"gate {gate.expression!r}: results have no figure {gate.figure}", hint=_meant(gate.figure, names))


@cache
def figures(model: type[BaseModel]) -> tuple[str, ...]:
    """The paths of all numbers, with `*` for a name that is not known beforehand."""
    return tuple(_walk(model))


def _walk(annotation: Any) -> Iterator[str]:
    """The rest of each path from here on."""
    kind = _without_none(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from (f"{name}.{rest}".rstrip(".") for rest in _walk(field.annotation))
    elif get_origin(kind) is dict:
        yield from (f"{_ANY}.{rest}".rstrip(".") for rest in _walk(get_args(kind)[1]))
    elif kind in (int, float):
        yield ""


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return kinds[0] if len(kinds) == 1 else annotation
    return annotation


def _is_under(path: list[str], pattern: list[str]) -> bool:
    return len(path) == len(pattern) and all(wanted in (_ANY, part) for part, wanted in zip(path, pattern, strict=True))


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    last = [
        each for each in known if each.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1] and not each.startswith("roles")
    ]
    return f"it could be {', '.join(last[:3] or known[:3])}"
