"""The source behind the bus, physics or replay: its interface, and how it is built from the options."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from vfctl.graph import Graph
from vfctl.physics import PhysicsParameters
from vfctl.protocol import FullGraph, Message, PositionUpdate
from vfctl.server.options import LiveGraph, Recording

log = logging.getLogger(__name__)

_REPORT_PERIOD_S: Final = 2.0

MAX_SETTLE_STEPS: Final = 20_000
"""More than any graph needs that settles at all (hundreds to a few thousand steps)."""


class FrameSource(Protocol):
    """Produces states on demand. The caller passes the time."""

    @property
    def settled(self) -> bool:
        """Whether the layout has settled."""

    @property
    def graph_version(self) -> int:
        """Grows when the graph of `full_graph` is replaced."""

    def tick(self, now_us: int) -> PositionUpdate | None:
        """The state at `now_us` (unix time in µs), or None if the last one is still valid."""

    def full_graph(self, now_us: int) -> FullGraph:
        """The whole graph with METADATA and TIMED."""

    def events(self, now_us: int) -> Sequence[Message]:
        """Messages other than positions that clients get now (recorded voice)."""

    def apply(self, message: Message, sender: int = 0) -> None:
        """Apply a client's drag.

        Args:
            message: what the client sent.
            sender: number of the client.

        Raises:
            InputError: the drag is invalid; the text is for that client.
        """

    def leave(self, sender: int) -> None:
        """A client has disconnected."""


@runtime_checkable
class AdjustableSource(FrameSource, Protocol):
    """Physics, whose parameters can be changed while it runs."""

    @property
    def idle(self) -> bool:
        """Whether the next tick computes nothing: the layout has settled, and no drag or change waits for the tick."""

    @property
    def device(self) -> str:
        """The device that the physics computes on, for people."""

    @property
    def parameters(self) -> PhysicsParameters:
        """The parameters that the next tick uses."""

    def set_parameters(self, **changes: float) -> None:
        """Change some parameters from the next tick on. A settled layout moves again.

        Raises:
            UsageError: one of them is invalid; nothing is changed then.
        """


@runtime_checkable
class RecordedSource(FrameSource, Protocol):
    """A replay of a recording."""

    def next_change_us(self, now_us: int) -> int | None:
        """Time in µs until `tick` returns a new state; None if it will not by itself."""

    def control(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change position, speed or pause; see `ReplaySource.control`.

        Raises:
            UsageError: one of the changes is invalid; nothing is changed then.
        """


class _ReportSteps:
    """Reports the progress of settling every two seconds."""

    def __init__(self, report: Callable[[str], None], nodes: int) -> None:
        self._report = report
        self._nodes = nodes
        self._next_s = time.monotonic() + _REPORT_PERIOD_S

    def __call__(self, steps: int, energy: float) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s += _REPORT_PERIOD_S
            self._report(f"settling {self._nodes} nodes: {steps} steps, mean energy {energy:.3g}")


def build_source(source: LiveGraph | Recording, report: Callable[[str], None]) -> FrameSource:
    """Build the frame source, ready to tick.

    Args:
        source: its options.
        report: called with a short text for each step that may take long.

    Raises:
        VfctlError: the file cannot be read or is invalid.
    """
    if isinstance(source, Recording):
        from vfctl.capture.playback.replay import ReplaySource

        report(f"opening {', '.join(source.files)}")
        return ReplaySource(
            source.files, speed=source.speed, loop=source.loop, start_s=source.start_s, paused=source.paused
        )
    return _build_physics(source, report)


def build_graph(source: LiveGraph, report: Callable[[str], None]) -> Graph:
    """Read, generate or load the bundled graph.

    Args:
        source: its options.
        report: called with a short text for each step that may take long.

    Raises:
        InputError: the file cannot be read, or holds no graph.
        UsageError: there is no such generator, or the number of nodes is invalid.
    """
    if source.file is not None:
        from vfctl.graph.loaders import load_graph

        report(f"loading {source.file}")
        return load_graph(Path(source.file))
    if source.generator is not None:
        from vfctl.graph.generators import generate

        report(f"generating {source.nodes} nodes")
        return generate(source.generator, source.nodes, source.seed)
    from vfctl.graph.loaders import bundled_graph

    return bundled_graph()


def _build_physics(source: LiveGraph, report: Callable[[str], None]) -> FrameSource:
    from vfctl.physics.device import use_device

    graph = build_graph(source, report)
    device = use_device(source.device)
    report(f"compiling the physics for {len(graph)} nodes on {device}")
    # Imported here: JAX takes seconds, only this process needs it, and its device must be chosen first.
    from vfctl.physics import PhysicsOrchestrator

    orchestrator = PhysicsOrchestrator(graph, source.parameters, seed=source.seed, keep_awake=source.keep_awake)
    if source.at_rest:
        report(f"settling {len(graph)} nodes")
        settled = orchestrator.settle(MAX_SETTLE_STEPS, _ReportSteps(report, len(graph)))
        if not settled:
            log.warning("the layout has not settled after %d steps; clients will see it move", MAX_SETTLE_STEPS)
    return orchestrator
