"""The course of a load test: stages, one after the other, and how many clients there are to be at each moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from annotated_types import Ge, Gt

from vfctl.loadtest.scenario.field_types import COUNT, SECONDS

CONNECTS_PER_S: Final = 500
"""The ramp that is chosen when none is asked for: what a busy server on the same machine shakes hands with."""


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What all stages have.

    Attributes:
        name: for people; empty for its kind.
        measured: its messages count in the headline figures. None: those of a hold do.
    """

    kind: str = ""
    name: str = ""
    measured: bool | None = None

    @property
    def label(self) -> str:
        """What displays and results call it."""
        return self.name or self.kind

    @property
    def counts(self) -> bool:
        """Whether it is measured."""
        return self.kind == "hold" if self.measured is None else self.measured


@dataclass(frozen=True, kw_only=True)
class Ramp(_Stage):
    """Clients connect, or leave, evenly over time. It ends when all have connected or failed.

    Attributes:
        clients: how many there are at its end; None: those of the scenario.
        duration_s: how long it takes; None: 500 clients a second.
    """

    kind: Literal["ramp"] = "ramp"
    clients: Annotated[int, Ge(0), COUNT] | None = None
    duration_s: Annotated[float, Ge(0), SECONDS] | None = None


@dataclass(frozen=True, kw_only=True)
class Hold(_Stage):
    """As many clients as before, for a while."""

    kind: Literal["hold"] = "hold"
    duration_s: Annotated[float, Gt(0), SECONDS] = 30.0


@dataclass(frozen=True, kw_only=True)
class Spike(_Stage):
    """So many clients at once; those who came for it leave at its end."""

    kind: Literal["spike"] = "spike"
    clients: Annotated[int, Ge(1), COUNT]
    duration_s: Annotated[float, Gt(0), SECONDS] = 10.0


Stage = Ramp | Hold | Spike


@dataclass(frozen=True, slots=True)
class Step:
    """A stage worked out.

    Attributes:
        name, kind, measured: of the stage.
        clients: how many there are to be.
        over_s: within this time.
        lasts_s: its whole length; a ramp waits for stragglers besides.
    """

    name: str
    kind: Literal["ramp", "hold", "spike"]
    measured: bool
    clients: int
    over_s: float
    lasts_s: float


def default_ramp_s(clients: int) -> float:
    """Seconds to connect so many clients, if nobody has said."""
    return max(1.0, clients / CONNECTS_PER_S)


def work_out(stages: Sequence[Stage], clients: int) -> list[Step]:
    """What happens, step by step, with `clients` wherever a ramp names no number."""
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
        steps.append(Step(stage.label, stage.kind, stage.counts, wanted, over_s, lasts_s))
    return steps


def scaled(stages: Sequence[Stage], factor: float) -> tuple[Stage, ...]:
    """The same course with so many times the clients."""
    return tuple(
        replace(stage, clients=max(1, round(stage.clients * factor)))
        if isinstance(stage, Ramp | Spike) and stage.clients
        else stage
        for stage in stages
    )


def level_at(elapsed_s: float, over_s: float, first: int, last: int) -> int:
    """How many clients there should be after `elapsed_s` of a linear change from `first` to `last`."""
    if over_s <= 0 or elapsed_s >= over_s:
        return last
    change = (last - first) * elapsed_s / over_s
    return min(last, first + math.floor(change) + 1) if last >= first else max(last, first + math.ceil(change) - 1)
