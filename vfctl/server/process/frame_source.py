"""What stands behind the bus: the physics or a recording, built from its description."""

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
"""More than any graph needs that comes to rest at all (hundreds to a few thousand steps)."""


class FrameSource(Protocol):
    """Produces states when it is asked to; the clock is the caller's."""

    @property
    def settled(self) -> bool:
        """Whether the layout is stable."""
        ...

    @property
    def graph_version(self) -> int:
        """Grows when another graph is served from now on: `full_graph` has it."""
        ...

    def tick(self, now_us: int) -> PositionUpdate | None:
        """The state as of `now_us` (unix time in µs), or None if the last one is still valid."""
        ...

    def full_graph(self, now_us: int) -> FullGraph:
        """The whole graph with METADATA and TIMED."""
        ...

    def events(self, now_us: int) -> Sequence[Message]:
        """Messages besides positions that clients should get now (recorded voice)."""
        ...

    def apply(self, message: Message, sender: int = 0) -> None:
        """Do what a client asks.

        Args:
            sender: which client.

        Raises:
            InputError: it cannot be done; the text is for that client.
        """
        ...

    def leave(self, sender: int) -> None:
        """That client has gone."""
        ...


@runtime_checkable
class AdjustableSource(FrameSource, Protocol):
    """A source with physics behind it, which can be changed while it runs."""

    @property
    def device(self) -> str:
        """What the physics computes on, for people."""
        ...

    @property
    def parameters(self) -> PhysicsParameters:
        """The parameters as of the next tick."""
        ...

    def set_parameters(self, **changes: float) -> None:
        """Change some of them, from the next tick on; a layout at rest moves again.

        Raises:
            UsageError: one of them cannot be; nothing is changed then.
        """
        ...


@runtime_checkable
class RecordedSource(FrameSource, Protocol):
    """A source that plays a recording."""

    def next_change_us(self, now_us: int) -> int | None:
        """How long it is until `tick` has something new; None if it will not by itself."""
        ...

    def control(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change how it is played; see `ReplaySource.control`.

        Raises:
            UsageError: one of the changes cannot be; none is made then.
        """
        ...


class _ReportSteps:
    """Tells how settling goes, once in a while."""

    def __init__(self, report: Callable[[str], None], nodes: int) -> None:
        self._report = report
        self._nodes = nodes
        self._next_s = time.monotonic() + _REPORT_PERIOD_S

    def __call__(self, steps: int, energy: float) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s += _REPORT_PERIOD_S
            self._report(f"settling {self._nodes} nodes: {steps} steps, mean energy {energy:.3g}")


def build_source(source: LiveGraph | Recording, report: Callable[[str], None]) -> FrameSource:
    """The frame source that is asked for, ready to tick.

    Args:
        report: told what is being done, in a few words, while it takes long.

    Raises:
        VfctlError: the file cannot be read, or does not hold what it should.
    """
    if isinstance(source, Recording):
        from vfctl.capture.playback.replay import ReplaySource

        report(f"opening {', '.join(source.files)}")
        return ReplaySource(
            source.files, speed=source.speed, loop=source.loop, start_s=source.start_s, paused=source.paused
        )
    return _build_physics(source, report)


def build_graph(source: LiveGraph, report: Callable[[str], None]) -> Graph:
    """The graph that is asked for: read, generated or the bundled one.

    Args:
        report: told what is being done.

    Raises:
        InputError: the file cannot be read, or holds no graph.
        UsageError: no such generator, or a number of nodes that cannot be.
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
    # Imported here: JAX takes seconds, only this process needs it, and it has to be told its device first.
    from vfctl.physics import PhysicsOrchestrator

    orchestrator = PhysicsOrchestrator(graph, source.parameters, seed=source.seed, keep_awake=source.keep_awake)
    if source.at_rest:
        report(f"settling {len(graph)} nodes")
        rested = orchestrator.settle(MAX_SETTLE_STEPS, _ReportSteps(report, len(graph)))
        if not rested:
            log.warning("the layout is not at rest after %d steps; clients will see it move", MAX_SETTLE_STEPS)
    return orchestrator
