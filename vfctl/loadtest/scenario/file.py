"""Reads scenarios from TOML files, shipped ones and others. Errors name the line in the file."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from vfctl.errors import InputError, UsageError, VfctlError
from vfctl.loadtest.scenario.model import ADAPTER, CheckGate, EmbeddedServer, Scenario, plain_message
from vfctl.loadtest.scenario.roles import ROLES, Recorded, Role
from vfctl.loadtest.scenario.stages import Hold, Ramp, Spike
from vfctl.loadtest.scenario.traffic import load_traffic

_TABLES: Final[dict[str, type]] = {
    "server": EmbeddedServer,
    "ramp": Ramp,
    "hold": Hold,
    "spike": Spike,
    **{role().role: role for role in ROLES},
}
"""The type of a table: by its name, or by the role or kind that it names."""


def load_scenario(name_or_path: str, check_gate: CheckGate | None = None) -> Scenario:
    """Load a shipped scenario by its name, or a TOML file by its path.

    Args:
        check_gate: called for each gate, once without and once with the names of the scenario's roles.

    Raises:
        InputError: the file cannot be read, or it is not TOML.
        UsageError: there is no such scenario; unknown keys, values that are not allowed, or a recording that cannot be
            read, each with its line.
    """
    text = scenario_text(name_or_path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name_or_path}: not TOML: {error}") from None
    try:
        # Through JSON, because only there pydantic is strict about scalars and still accepts lists for tuples.
        scenario = ADAPTER.validate_json(json.dumps(table, default=str), strict=True, context=check_gate)
    except ValidationError as error:
        found = sorted(_explain(text, each) for each in error.errors())
        raise UsageError("\n".join(f"{name_or_path}:{line}: {message}" for line, message in found)) from None
    if check_gate is not None:
        for gate in scenario.all_gates:
            check_gate(gate, [role.label for role in scenario.roles])
    return _with_traffic(name_or_path, text, scenario)


def _with_traffic(name_or_path: str, text: str, scenario: Scenario) -> Scenario:
    """The scenario with paths of recordings that are relative to the file; the recordings are read to check them."""
    mix: list[Role] = list(scenario.mix)
    for number, role in enumerate(mix):
        if not isinstance(role, Recorded):
            continue
        where = f"{name_or_path}:{_line_of(text, ['mix', number, 'traffic'])}"
        if not role.traffic:
            raise UsageError(f"{where}: mix[{number}].traffic is missing, the path of the recording")
        path = str(Path(name_or_path).parent / role.traffic)
        mix[number] = dataclasses.replace(role, traffic=path)
        try:
            load_traffic(path)
        except VfctlError as error:
            raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
    return dataclasses.replace(scenario, mix=tuple(mix))


def scenario_names() -> list[str]:
    """The names of the scenarios that vfctl ships, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _shipped())


def scenario_text(name_or_path: str) -> str:
    """The TOML text of a shipped scenario or of a file.

    Raises:
        InputError: the file cannot be read.
        UsageError: there is no such scenario.
    """
    shipped = {entry.name.removesuffix(".toml"): entry for entry in _shipped()}
    if name_or_path in shipped:
        return shipped[name_or_path].read_text("utf-8")
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        try:
            return Path(name_or_path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name_or_path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    close = difflib.get_close_matches(name_or_path, shipped, n=1)
    meant = f"did you mean {close[0]}?" if close else f"the scenarios are {', '.join(sorted(shipped))}; or a path"
    raise UsageError(f"there is no scenario {name_or_path!r}", hint=meant)


def _shipped() -> Iterator[Traversable]:
    """The shipped scenario files: in the package if it is installed, else in the checkout."""
    for folder in (files("vfctl") / "scenarios", Path(__file__).parents[3] / "scenarios"):
        if folder.is_dir():
            yield from (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
            return


def _explain(text: str, error: Any) -> tuple[int, str]:
    """The line and the message of one error."""
    kind: type = Scenario
    path: list[str | int] = []
    for part in error["loc"]:
        if part in _TABLES and (part == "server" or isinstance(path[-1] if path else None, int)):
            kind = _TABLES[part]
            if part != "server":
                continue  # names the type of the table and is not in the file
        path.append(part)
    key = ".".join(part if isinstance(part, str) else f"[{part}]" for part in path).replace(".[", "[")
    if not path and (word := plain_message(error).partition(" ")[0]) in (
        each.name for each in dataclasses.fields(kind)
    ):
        path.append(word)  # of two keys that exclude each other, the one that the message begins with
    if error["type"] == "union_tag_invalid":
        path.append(error["ctx"]["discriminator"][1:-1])
    return _line_of(text, path), _message(kind, key, error)


def _message(kind: type, key: str, error: Any) -> str:
    match error["type"]:
        case "unexpected_keyword_argument":
            known = [field.name for field in dataclasses.fields(kind)]
            close = difflib.get_close_matches(error["loc"][-1], known, n=1)
            advice = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(known)}"
            return f"unknown key {key}; {advice}"
        case "union_tag_invalid":
            choices = error["ctx"]["expected_tags"].replace("'", "")
            return f"{key}.{error['ctx']['discriminator'][1:-1]} is {error['ctx']['tag']!r}; it can be {choices}"
        case "union_tag_not_found":
            return f"{key} has no {error['ctx']['discriminator'][1:-1]}"
        case "missing" | "missing_argument":
            return f"{key} is missing"
        case "literal_error":
            return f"{key} is {error['input']!r}; it can be {error['ctx']['expected']}"
        case "value_error":
            return plain_message(error)
        case _:
            return f"{key} is {error['input']!r}: {plain_message(error)}"


def _line_of(text: str, path: Sequence[str | int]) -> int:
    """The line, from 1, that sets a key or begins the table around it. tomllib does not report lines."""
    best, reached = 1, 0
    present: list[str | int] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        here = present
        if header := re.match(r"\s*(\[\[?)\s*([\w.-]+)\s*\]", line):
            present = list(header[2].split("."))
            if header[1] == "[[":
                present.append(seen.get(header[2], -1) + 1)
                seen[header[2]] = int(present[-1])
            here = present
        elif setting := re.match(r"\s*([\w.-]+)\s*=", line):
            here = [*present, *setting[1].split(".")]
        if len(here) > reached and list(path[: len(here)]) == here:
            best, reached = number, len(here)
    return best
