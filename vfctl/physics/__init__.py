"""The layout: forces, steps, settling, drags, and the orchestrator that serves it. The only room that imports JAX."""

import logging

from vfctl.physics.orchestrator import MAX_COORDINATE, PhysicsOrchestrator
from vfctl.physics.parameters import PARAMETERS, ParameterInfo, PhysicsParameters

# JAX says on stderr that it runs on the CPU although there is a GPU: the user cannot tell this from a failure.
logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)

__all__ = ["MAX_COORDINATE", "PARAMETERS", "ParameterInfo", "PhysicsOrchestrator", "PhysicsParameters"]
