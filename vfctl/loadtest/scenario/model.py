"""The model of a scenario: what a load test does. `vfctl.loadtest.scenario.file` reads it from TOML."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Len
from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from vfctl.errors import UsageError
from vfctl.loadtest.scenario.field_types import COUNT, HERTZ, MILLISECONDS, SECONDS, JsonFilter
from vfctl.loadtest.scenario.gates import Gate, parse_abort_gate, parse_gate
from vfctl.loadtest.scenario.roles import Role, Viewer
from vfctl.loadtest.scenario.stages import Hold, Ramp, Stage, Step, resolve_stages, scaled
from vfctl.physics import DEFAULT_PARAMETERS, PhysicsParameters
from vfctl.physics.device import Device
from vfctl.protocol import Filter
from vfctl.server.capacity import workers_here
from vfctl.server.options import DEFAULT_MAX_CLIENTS, LiveGraph, ServerOptions

_STRICT: Final = ConfigDict(extra="forbid", revalidate_instances="always", allow_inf_nan=False)

SLOTS_PER_CLIENT: Final = 2
"""Connections that the embedded server accepts per client, unless the scenario sets a limit. In a reconnect storm, all
clients return before the server has noticed that their connections have ended."""


CheckGate = Callable[[Gate, Collection[str] | None], None]
"""Raises UsageError if results have no such metric; also given the names of the roles, if they are known."""


def _as_gate(expression: object, info: ValidationInfo) -> Gate:
    return _parsed(expression, parse_gate, info)


def _as_abort_gate(expression: object, info: ValidationInfo) -> Gate:
    return _parsed(expression, parse_abort_gate, info)


def _parsed(expression: object, parse: Callable[[str], Gate], info: ValidationInfo) -> Gate:
    if isinstance(expression, Gate):
        return expression
    if not isinstance(expression, str):
        raise ValueError("a gate is a text")
    try:
        gate = parse(expression)
        if info.context is not None:  # the check that `load_scenario` was given
            info.context(gate, None)
    except UsageError as error:
        raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from None
    return gate


def _as_physics(table: object) -> PhysicsParameters:
    if isinstance(table, PhysicsParameters):
        return table
    if not isinstance(table, dict):
        raise ValueError("physics is a table of parameters by name")
    errors: list[InitErrorDetails] = []
    for name, value in table.items():
        try:
            DEFAULT_PARAMETERS.validated(**{name: value})
        except UsageError as error:
            text = f"{error.message}; {error.hint}" if error.hint else error.message
            what = PydanticCustomError("value_error", "{text}", {"text": text})
            errors.append(InitErrorDetails(type=what, loc=(name,), input=value))
    if errors:
        raise ValidationError.from_exception_data("physics", errors)  # each with its key, hence its line
    return DEFAULT_PARAMETERS.validated(**table)


@dataclass(frozen=True, kw_only=True)
class EmbeddedServer:
    """The server that a load test starts if there is no URL; `vfctl serve --config` reads the same table.

    Attributes:
        graph: path of a graph file; None for a generated graph or the bundled one.
        generator, nodes, seed: a generated graph.
        state: `rest`: the layout has settled before the first client; `active`: it never settles. None is `rest` in a
            load test; in `vfctl serve`, viewers see the layout settle.
        workers: number of gateways; None for as many as the clients need.
        max_clients: largest number of connections; None for more than the clients need.
        physics_hz, active_interval_ms, stable_interval_ms, stall_timeout_s, device: as for `vfctl serve`.
        physics: parameters of the physics; others have their defaults.
    """

    graph: str | None = None
    generator: str | None = None
    nodes: Annotated[int, Ge(1), COUNT] | None = None
    seed: Annotated[int, Ge(0)] = 0
    state: Literal["rest", "active"] | None = None
    workers: Annotated[int, Ge(1)] | None = None
    physics_hz: Annotated[float, Gt(0), HERTZ] = 60.0
    active_interval_ms: Annotated[float, Gt(0), MILLISECONDS] = 50.0
    stable_interval_ms: Annotated[float, Gt(0), MILLISECONDS] = 1000.0
    stall_timeout_s: Annotated[float, Gt(0), SECONDS] = 20.0
    max_clients: Annotated[int, Ge(1), COUNT] | None = None
    device: Device = "auto"
    physics: Annotated[PhysicsParameters, PlainValidator(_as_physics)] = DEFAULT_PARAMETERS

    def __post_init__(self) -> None:
        if self.graph and (self.nodes or self.generator):
            raise ValueError("a graph is read from a file or generated: give graph, or nodes and generator")

    def changed(self, **changes: Any) -> EmbeddedServer:
        """A copy with those changes that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def options(self, clients: int) -> ServerOptions:
        """The options that the server is started with, on a free port.

        Args:
            clients: the largest number of clients at a time.
        """
        graph = LiveGraph(
            file=self.graph,
            generator=self.generator or ("scale-free" if self.nodes else None),
            nodes=self.nodes or 1000,
            seed=self.seed,
            at_rest=self.state != "active",
            keep_awake=self.state == "active",
            parameters=self.physics,
            device=self.device,
        )
        return ServerOptions(
            source=graph,
            port=0,
            workers=self.workers or workers_here(clients),
            max_clients=self.max_clients or max(DEFAULT_MAX_CLIENTS, SLOTS_PER_CLIENT * clients),
            physics_hz=self.physics_hz,
            active_interval_ms=self.active_interval_ms,
            stable_interval_ms=self.stable_interval_ms,
            stall_timeout_s=self.stall_timeout_s,
        )


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A load test.

    Attributes:
        description: one line of text.
        clients: the number of simulated clients.
        duration_s: the measured time, after the ramp.
        ramp_s: the time in which clients connect; None for 500 clients a second.
        encoding: of the updates; None leaves it to the URL.
        filter: the filter of every client; None sends no FilterUpdate.
        mix: the roles of the clients, with their shares; empty if all are viewers.
        stages: the stages; empty for a ramp and a hold of the times above.
        gates: conditions that are judged at the end.
        abort_gates: conditions that are judged while the test runs; if one fails, the run ends.
        embedded: whether to start the embedded server even if another one answers at the default address.
        server: the embedded server.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    description: str = ""
    clients: Annotated[int, Ge(1), COUNT] = 1000
    duration_s: Annotated[float, Ge(0.1), SECONDS] = 30.0
    ramp_s: Annotated[float, Ge(0), SECONDS] | None = None
    encoding: Literal["raw", "lz4", "compact"] | None = None
    filter: JsonFilter | None = None
    mix: Annotated[tuple[Annotated[Role, Field(discriminator="role")], ...], Len(0, 256)] = ()
    stages: tuple[Annotated[Stage, Field(discriminator="kind")], ...] = ()
    gates: tuple[Annotated[Gate, PlainValidator(_as_gate)], ...] = ()
    abort_gates: tuple[Annotated[Gate, PlainValidator(_as_abort_gate)], ...] = ()
    embedded: bool = False
    server: EmbeddedServer = field(default_factory=EmbeddedServer)

    def __post_init__(self) -> None:
        if self.filter is not None and self.mix:
            raise ValueError("filter is for clients without a mix; with a mix, give it to its viewers")
        labels = [role.label for role in self.mix]
        doubled = next((label for label in labels if labels.count(label) > 1), None)
        if doubled is not None:
            raise ValueError(f"two roles of the mix are called {doubled!r}; give one of them a name")
        odd = next((label for label in labels if not re.fullmatch(r"[A-Za-z0-9_-]+", label)), None)
        if odd is not None:
            raise ValueError(f"a role is called {odd!r}; gates use its name: letters, digits, - and _ only")
        if not self.peak:
            raise ValueError("no client ever connects; begin with a ramp or a spike")
        if not any(step.measured for step in self.steps()):
            raise ValueError("no stage is measured: there would be no results")

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of the clients."""
        return self.mix or (Viewer(filter=self.filter),)

    @property
    def all_gates(self) -> tuple[Gate, ...]:
        """The gates that are judged at the end, which are all of them."""
        return (*self.gates, *self.abort_gates)

    @property
    def peak(self) -> int:
        """The largest number of clients at a time."""
        return max(step.clients for step in self.steps())

    def steps(self) -> list[Step]:
        """The stages with all their numbers."""
        stages = self.stages or (Ramp(duration_s=self.ramp_s), Hold(duration_s=self.duration_s))
        return resolve_stages(stages, self.clients)

    def described(self) -> dict[str, Any]:
        """What two runs must have in common to be compared, as JSON: encoding, roles and stages."""
        roles = [_role_described(role) for role in self.roles]
        stages = [{key: value for key, value in asdict(step).items() if key != "lasts_s"} for step in self.steps()]
        return {"description": self.description, "encoding": self.encoding, "roles": roles, "stages": stages}

    def changed(self, **changes: Any) -> Scenario:
        """A checked copy with those changes that are not None. In a scenario with stages, `clients` scales them to
        that peak, `duration_s` sets the length of each measured stage, and `ramp_s` that of the first ramp.

        Raises:
            UsageError: a value is not allowed.
        """
        wanted = {name: value for name, value in changes.items() if value is not None}
        try:
            if self.stages:
                wanted["stages"] = self._stages_changed(wanted)
                wanted["clients"] = max(1, round(self.clients * wanted.get("clients", self.peak) / self.peak))
            return ADAPTER.validate_python(replace(self, **wanted))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            message = f"{where} is {first['input']!r}: {plain_message(first)}" if where else plain_message(first)
            raise UsageError(message) from None
        except ValueError as error:
            raise UsageError(str(error)) from None

    def _stages_changed(self, wanted: dict[str, Any]) -> tuple[Stage, ...]:
        stages = list(scaled(self.stages, wanted["clients"] / self.peak) if "clients" in wanted else self.stages)
        first_ramp = next((stage for stage in stages if isinstance(stage, Ramp)), None)
        for number, stage in enumerate(stages):
            if stage is first_ramp and "ramp_s" in wanted:
                stages[number] = replace(stage, duration_s=wanted["ramp_s"])
            elif stage.is_measured and "duration_s" in wanted:
                stages[number] = replace(stage, duration_s=wanted["duration_s"])
        return tuple(stages)


def _role_described(role: Role) -> dict[str, Any]:
    values = {each.name: getattr(role, each.name) for each in fields(role)}
    return {
        name: value.to_json() if isinstance(value, Filter) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


ADAPTER: Final = TypeAdapter(Scenario)
"""Checks tables and instances."""


def plain_message(error: Any) -> str:
    """The message of a pydantic error, without its prefix."""
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
