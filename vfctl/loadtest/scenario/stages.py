"""The stages of a load test, and the number of clients at each moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from annotated_types import Ge, Gt

from vfctl.loadtest.scenario.field_types import COUNT, SECONDS

CONNECTS_PER_S: Final = 500
"""Rate of the default ramp: what a busy server on the same machine can accept."""


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """The attributes of every stage.

    Attributes:
        name: its name in displays and results; empty for its kind.
        measured: whether its messages count in the headline metrics. None: only those of a hold do.
    """

    kind: str = ""
    name: str = ""
    measured: bool | None = None

    @property
    def label(self) -> str:
        """Its name in displays and results."""
        return self.name or self.kind

    @property
    def is_measured(self) -> bool:
        """Whether its messages count in the headline metrics."""
        return self.kind == "hold" if self.measured is None else self.measured


@dataclass(frozen=True, kw_only=True)
class Ramp(_Stage):
    """Clients connect or disconnect evenly over time. It ends when all have connected or failed.

    Attributes:
        clients: the number of clients at its end; None for that of the scenario.
        duration_s: its length; None for 500 clients a second.
    """

    kind: Literal["ramp"] = "ramp"
    clients: Annotated[int, Ge(0), COUNT] | None = None
    duration_s: Annotated[float, Ge(0), SECONDS] | None = None


@dataclass(frozen=True, kw_only=True)
class Hold(_Stage):
    """The number of clients stays the same."""

    kind: Literal["hold"] = "hold"
    duration_s: Annotated[float, Gt(0), SECONDS] = 30.0


@dataclass(frozen=True, kw_only=True)
class Spike(_Stage):
    """Additional clients connect at once, up to `clients` in all, and disconnect at its end."""

    kind: Literal["spike"] = "spike"
    clients: Annotated[int, Ge(1), COUNT]
    duration_s: Annotated[float, Gt(0), SECONDS] = 10.0


Stage = Ramp | Hold | Spike


@dataclass(frozen=True, slots=True)
class Step:
    """A stage with all its numbers resolved.

    Attributes:
        name, kind, measured: of the stage.
        clients: the number of clients at its end.
        over_s: the time in which clients connect or disconnect.
        lasts_s: its whole length; a ramp also waits for the last handshakes.
    """

    name: str
    kind: Literal["ramp", "hold", "spike"]
    measured: bool
    clients: int
    over_s: float
    lasts_s: float


def default_ramp_s(clients: int) -> float:
    """Default length of a ramp for this number of clients, in seconds."""
    return max(1.0, clients / CONNECTS_PER_S)


def resolve_stages(stages: Sequence[Stage], clients: int) -> list[Step]:
    """The steps of a test. A ramp without a number of clients has `clients`."""
    steps: list[Step] = []
    level = 0
    for stage in stages:
        wanted, over_s, lasts_s = level, 0.0, stage.duration_s or 0.0
        if isinstance(stage, Ramp):
            wanted = level = clients if stage.clients is None else stage.clients
            before = steps[-1].clients if steps else 0
            over_s = lasts_s = default_ramp_s(abs(wanted - before)) if stage.duration_s is None else stage.duration_s
        elif isinstance(stage, Spike):
            wanted = stage.clients
        steps.append(Step(stage.label, stage.kind, stage.is_measured, wanted, over_s, lasts_s))
    return steps


def scaled(stages: Sequence[Stage], factor: float) -> tuple[Stage, ...]:
    """The same stages with the numbers of clients multiplied by `factor`."""
    return tuple(
        replace(stage, clients=max(1, round(stage.clients * factor)))
        if isinstance(stage, Ramp | Spike) and stage.clients
        else stage
        for stage in stages
    )


def level_at(elapsed_s: float, over_s: float, first: int, last: int) -> int:
    """The number of clients after `elapsed_s` of a linear change from `first` to `last`."""
    if over_s <= 0 or elapsed_s >= over_s:
        return last
    change = (last - first) * elapsed_s / over_s
    return min(last, first + math.floor(change) + 1) if last >= first else max(last, first + math.ceil(change) - 1)
