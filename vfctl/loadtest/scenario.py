"""Scenarios: what a load test does, as a TOML file or as options of the command line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, TypeVar

from vfctl.errors import InputError, UsageError
from vfctl.loadtest.gates import Gate, parse_gate
from vfctl.protocol import Filter
from vfctl.server.options import LiveGraph

_Parsed = TypeVar("_Parsed")

SERVED_ENCODINGS: Final = ("raw", "lz4")
STATES: Final = ("rest", "active")


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """The server that is started when there is no URL.

    Attributes:
        graph: path of a graph file; None for a generated or the bundled one.
        generator, nodes, seed: a generated graph.
        state: `rest`: the layout has settled before the first client; `active`: the simulation is kept awake.
        workers: number of gateways.
    """

    graph: str | None = None
    generator: str | None = None
    nodes: int | None = None
    seed: int = 0
    state: str = "rest"
    workers: int = 1

    def changed(self, **changes: Any) -> EmbeddedServer:
        """With those changes that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def live_graph(self) -> LiveGraph:
        """What the server's source is asked for."""
        return LiveGraph(
            file=self.graph,
            generator=self.generator or ("scale-free" if self.nodes else None),
            nodes=self.nodes or 1000,
            seed=self.seed,
            at_rest=self.state == "rest",
            keep_awake=self.state == "active",
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load test.

    Attributes:
        description: one line for people.
        clients: how many are simulated.
        duration_s: the measured time, after the ramp.
        ramp_s: the time over which clients connect; None follows from their number.
        encoding: `raw` or `lz4`; None leaves it to the URL.
        filter: what each client asks to see; None sends no FilterUpdate.
        gates: what must hold.
        server: the embedded server.
    """

    description: str = ""
    clients: int = 1000
    duration_s: float = 30.0
    ramp_s: float | None = None
    encoding: str | None = None
    filter: Filter | None = None
    gates: tuple[Gate, ...] = ()
    server: EmbeddedServer = field(default_factory=EmbeddedServer)

    def changed(self, **changes: Any) -> Scenario:
        """With those changes that are not None, checked.

        Raises:
            UsageError: a value that cannot be.
        """
        scenario = replace(self, **{name: value for name, value in changes.items() if value is not None})
        _check(scenario)
        return scenario


def load_scenario(name_or_path: str) -> Scenario:
    """A shipped scenario by its name, or a TOML file by its path.

    Raises:
        InputError: there is no such scenario or file, or it is not TOML.
        UsageError: an unknown key, or a value of the wrong kind.
    """
    text = scenario_text(name_or_path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name_or_path}: not TOML: {error}") from None
    try:
        return _from_table(table)
    except _KeyedError as error:
        raise UsageError(f"{name_or_path}:{_line_of(text, error.key)}: {error.message}", hint=error.hint) from None


def scenario_names() -> list[str]:
    """The names of the scenarios that vfctl ships, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _shipped())


def scenario_text(name_or_path: str) -> str:
    """The TOML text of a shipped scenario or of a file.

    Raises:
        InputError: there is no such scenario or file.
    """
    shipped = {entry.name.removesuffix(".toml"): entry for entry in _shipped()}
    if name_or_path in shipped:
        return shipped[name_or_path].read_text("utf-8")
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        try:
            return Path(name_or_path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name_or_path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    raise InputError(
        f"there is no scenario {name_or_path!r}", hint=f"the scenarios are {', '.join(sorted(shipped))}; or a path"
    )


class _KeyedError(UsageError):
    """Something wrong with the value, or the name, of one key.

    Attributes:
        key: with its table, as in `server.state`.
    """

    def __init__(self, key: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.key = key


def _line_of(text: str, key: str) -> int:
    """The line, from 1, on which a key (or its table) is set; tomllib does not tell. 1 if it is written otherwise."""
    table, _, name = key.rpartition(".")
    present = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([\w.]+)\]", line)
        present = header[1] if header else present
        if (header and header[1] == key) or (present == table and re.match(rf"\s*{re.escape(name)}\s*[=.]", line)):
            return number
    return 1


def _shipped() -> Iterator[Traversable]:
    """The scenario files: inside the package once installed, beside it in a checkout."""
    for folder in (files("vfctl") / "scenarios", Path(__file__).parents[2] / "scenarios"):
        if folder.is_dir():
            yield from (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
            return


def _from_table(table: Mapping[str, Any]) -> Scenario:
    values = dict(table)
    _check_keys(values, Scenario, "")
    server = values.pop("server", {})
    if not isinstance(server, dict):
        raise _KeyedError("server", "'server' is a table: [server]")
    _check_keys(server, EmbeddedServer, "server.")
    gates = values.pop("gates", [])
    if not isinstance(gates, list) or not all(isinstance(gate, str) for gate in gates):
        raise _KeyedError("gates", "'gates' is a list of texts")
    criteria = values.pop("filter", None)
    scenario = Scenario(
        **values,
        filter=None if criteria is None else _keyed("filter", lambda: parse_filter(criteria)),
        gates=_keyed("gates", lambda: tuple(parse_gate(gate) for gate in gates)),
        server=EmbeddedServer(**server),
    )
    _check(scenario)
    return scenario


def _keyed(key: str, parse: Callable[[], _Parsed]) -> _Parsed:
    try:
        return parse()
    except UsageError as error:
        raise _KeyedError(key, error.message, hint=error.hint) from None


def parse_filter(criteria: object) -> Filter:
    """A filter from its JSON (or TOML) form.

    Raises:
        UsageError: it is none.
    """
    try:
        return Filter.from_json(criteria)
    except ValueError as error:
        raise UsageError(f"filter: {error}", hint='for example {"kind":["class"],"depth":[0,3]}') from None


def _check_keys(table: Mapping[str, Any], kind: type, prefix: str) -> None:
    known = [entry.name for entry in fields(kind)]
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"the keys are {', '.join(known)}"
            raise _KeyedError(f"{prefix}{key}", f"unknown key {prefix}{key}", hint=hint)


def _check(scenario: Scenario) -> None:
    server = scenario.server
    numbers = {
        "clients": (scenario.clients, int, 1),
        "duration_s": (scenario.duration_s, float, 0.1),
        "ramp_s": (scenario.ramp_s or 0.0, float, 0.0),
        "server.nodes": (1 if server.nodes is None else server.nodes, int, 1),
        "server.seed": (server.seed, int, 0),
        "server.workers": (server.workers, int, 1),
    }
    for name, (value, kind, least) in numbers.items():
        is_number = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
        if not is_number or not least <= value < float("inf"):
            what = "an integer" if kind is int else "a number"
            raise _KeyedError(name, f"{name} is {value!r}, it takes {what} of at least {least}")
    for name, text in {"description": scenario.description, "server.graph": server.graph or ""}.items():
        if not isinstance(text, str):
            raise _KeyedError(name, f"{name} is {text!r}, it takes a text")
    for name, choice, choices in (
        ("encoding", scenario.encoding, SERVED_ENCODINGS),
        ("server.state", server.state, STATES),
    ):
        if choice is not None and choice not in choices:
            raise _KeyedError(name, f"{name} is {choice!r}; it can be {', '.join(choices)}")
    if server.graph and (server.nodes or server.generator):
        raise _KeyedError(
            "server.graph", "a graph is read from a file or generated: give graph, or nodes and generator"
        )
