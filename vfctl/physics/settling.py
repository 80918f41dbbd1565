"""When a layout is at rest. Pure: one energy a step goes in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

QUIET_STEPS: Final = 30
"""Half a second at 60 Hz. A node that starts from rest gives itself away well before, so a start is no rest."""

_REST_SPEED: Final = 0.01
"""rest lengths/s, root mean square over the nodes: a fraction of a pixel a second in any view of the whole."""


@dataclass(frozen=True, slots=True)
class Settling:
    """How long a layout has been quiet. `Settling()` is one that has just been disturbed.

    Attributes:
        quiet_steps: steps in a row, up to now, with an energy below the threshold.
    """

    quiet_steps: int = 0

    @property
    def settled(self) -> bool:
        """True once the layout has been quiet for QUIET_STEPS in a row."""
        return self.quiet_steps >= QUIET_STEPS

    def after(self, energy: float, threshold: float) -> Settling:
        """What follows from one more step. An energy that is not finite is motion, and forgotten by the next step.

        Args:
            energy: mean kinetic energy per node and unit of mass, units²/s².
            threshold: below it a step is quiet, see `rest_energy`.
        """
        return Settling(self.quiet_steps + 1 if math.isfinite(energy) and energy < threshold else 0)


def rest_energy(rest_length: float) -> float:
    """The threshold for a layout with edges of `rest_length` units; in units²/s²."""
    return 0.5 * (_REST_SPEED * rest_length) ** 2
