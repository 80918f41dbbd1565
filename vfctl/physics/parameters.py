"""The parameters of the layout: one table with names, meanings, units and ranges."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final, NamedTuple

from vfctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One parameter.

    Attributes:
        name: the field of PhysicsParameters.
        default: the value that suits graphs of ten to ten thousand nodes.
        unit: of the value; lengths are in layout units, `1` has none.
        minimum, maximum: the allowed range, both ends included.
        description: one line for people.
    """

    name: str
    default: float
    unit: str
    minimum: float
    maximum: float
    description: str

    @property
    def range_text(self) -> str:
        """The range with its unit, for people: `0 to 500 1/s²`."""
        return f"{self.minimum:g} to {self.maximum:g} {self.unit}"


# The defaults were chosen by stress (how well distances in the layout match those in the graph) and by the number of
# steps to rest: trees, scale-free graphs, stars and graphs of several components with 100 to 2,000 nodes rest after 200
# to 1,000 steps. The ranges keep all intermediate results within float32.
_TABLE: Final = (
    ParameterInfo("spring_k", 100.0, "1/s²", 0.0, 500.0, "stiffness of an edge of mean weight"),
    ParameterInfo("repel_k", 500.0, "units²/s²", 0.0, 100_000.0, "strength of the repulsion between any two nodes"),
    ParameterInfo("rest_length", 10.0, "units", 0.1, 1_000.0, "length at which an edge neither pulls nor pushes"),
    ParameterInfo("damping", 3.0, "1/s", 0.0, 100.0, "rate at which motion dies down"),
    ParameterInfo("dt", 0.016, "s", 0.001, 0.05, "simulated time of one step"),
    ParameterInfo("max_velocity", 200.0, "units/s", 0.1, 10_000.0, "no node moves faster than this"),
    ParameterInfo("max_force", 10_000.0, "units/s²", 1.0, 1e6, "no node is accelerated more than this"),
    ParameterInfo("center_gravity_k", 2.0, "1/s²", 0.0, 100.0, "pull of every node towards the origin"),
    ParameterInfo("cooling", 16.0, "units/s³", 0.0, 1_000.0, "growth of the friction that brings the layout to rest"),
)

_MAX_SHOWN: Final = 40
"""characters of a value that an error quotes."""

PARAMETERS: Final = {info.name: info for info in _TABLE}
"""All parameters by name, in the order of PhysicsParameters' fields."""


class PhysicsParameters(NamedTuple):
    """The values of all parameters. `PARAMETERS` has their units and ranges.

    It is a tuple of numbers, hence a JAX pytree, so another value needs no compilation. `validated` makes changed ones
    and refuses values out of range.
    """

    spring_k: float = PARAMETERS["spring_k"].default
    repel_k: float = PARAMETERS["repel_k"].default
    rest_length: float = PARAMETERS["rest_length"].default
    damping: float = PARAMETERS["damping"].default
    dt: float = PARAMETERS["dt"].default
    max_velocity: float = PARAMETERS["max_velocity"].default
    max_force: float = PARAMETERS["max_force"].default
    center_gravity_k: float = PARAMETERS["center_gravity_k"].default
    cooling: float = PARAMETERS["cooling"].default

    def validated(self, /, **changes: float) -> PhysicsParameters:
        """Return these parameters with `changes`, all of them checked.

        Raises:
            UsageError: an unknown name, or a value that is no number or out of range.
        """
        for name in changes:
            if name not in PARAMETERS:
                raise UsageError(f"there is no physics parameter {name!r}", hint=_suggestion(name))
        merged = self._asdict() | changes
        return PhysicsParameters(**{name: _checked(PARAMETERS[name], value) for name, value in merged.items()})


DEFAULT_PARAMETERS: Final = PhysicsParameters()


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), PARAMETERS, n=1)
    return f"did you mean {close[0]}?" if close else f"the parameters are {', '.join(PARAMETERS)}"


def _checked(info: ParameterInfo, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # NaN differs from itself
        raise UsageError(f"{info.name} is a number, not {_shown(value)}")
    if not info.minimum <= value <= info.maximum:
        raise UsageError(f"{info.name} = {_shown(value)} is out of range: {info.range_text}")
    return float(value)


def _shown(value: object) -> str:
    """A value for an error message, short."""
    try:
        text = f"{value:.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
    except OverflowError:
        return "a whole number of astronomical size"  # of more digits than a float, or Python's repr, has
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
