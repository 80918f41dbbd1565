"""The layout: forces, steps, settling, drags, and the orchestrator. The only package that imports JAX.

Gateways and the command line need the table of parameters and must not load JAX, so the orchestrator is imported only
when it is used (PEP 562).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from vfctl.physics.parameters import DEFAULT_PARAMETERS, PARAMETERS, ParameterInfo, PhysicsParameters

if TYPE_CHECKING:
    from vfctl.physics.orchestrator import MAX_COORDINATE, PhysicsOrchestrator

# JAX warns on stderr when it runs on the CPU beside an unusable GPU, which looks like a failure to the user.
logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)

__all__ = [
    "DEFAULT_PARAMETERS",
    "MAX_COORDINATE",
    "PARAMETERS",
    "ParameterInfo",
    "PhysicsOrchestrator",
    "PhysicsParameters",
]


def __getattr__(name: str) -> Any:
    if name in ("MAX_COORDINATE", "PhysicsOrchestrator"):
        from vfctl.physics import orchestrator

        return getattr(orchestrator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
