"""What `vfctl serve` and `vfctl layout` have in common: which graph, how the physics is set, what it computes on."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vfctl.physics import PhysicsParameters
    from vfctl.server.options import LiveGraph


class Generator(StrEnum):
    """The names of the generators; a test holds them against those that `vfctl.graph.generators` has."""

    SCALE_FREE = "scale-free"
    TREE = "tree"
    GRID = "grid"
    RANDOM = "random"


class Device(StrEnum):
    """The names of the devices, held against `vfctl.physics.device` by the same test."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


DEFAULT_NODES = 1000

GraphArgument = Annotated[
    Path | None,
    typer.Argument(
        help="Graph file: node-link JSON, GraphML, CSV edge list, Turtle or RDF/XML. Without it, a bundled ontology of "
        "316 nodes."
    ),
]
NodesOption = Annotated[
    int | None,
    typer.Option(help="Generate a graph of so many nodes instead.  [default: 1000, with --generator]", min=1),
]
GeneratorOption = Annotated[
    Generator | None, typer.Option(help="Kind of graph to generate.  [default: scale-free, with --nodes]")
]
SeedOption = Annotated[int, typer.Option(help="Seed of the generator and of the first positions.", min=0)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set a parameter of the physics, e.g. spring_k=120; docs/physics.md has them all. Repeatable.",
        metavar="NAME=VALUE",
    ),
]
DeviceOption = Annotated[
    Device, typer.Option(help="What the physics computes on; auto takes a GPU if there is one that works.")
]


def live_graph(graph: Path | None, nodes: int | None, generator: Generator | None, seed: int) -> LiveGraph:
    """The graph that the options ask for.

    Raises:
        UsageError: a file and a generated graph at once.
    """
    from vfctl.errors import UsageError
    from vfctl.server.options import LiveGraph

    generated = nodes is not None or generator is not None
    if graph is not None and generated:
        raise UsageError("a graph is either read from a file or generated: give GRAPH or --nodes, not both")
    return LiveGraph(
        file=None if graph is None else str(graph),
        generator=(generator or Generator.SCALE_FREE).value if generated else None,
        nodes=nodes or DEFAULT_NODES,
        seed=seed,
    )


def with_settings(parameters: PhysicsParameters, settings: Sequence[str] | None) -> PhysicsParameters:
    """The parameters as `--set` changes them; of several settings of one, the last counts.

    Raises:
        UsageError: no NAME=VALUE, no such name, or a value that is no number or out of its range.
    """
    from vfctl.errors import UsageError

    changes: dict[str, float] = {}
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set takes NAME=VALUE, not {setting!r}", hint="for example: --set spring_k=120")
        try:
            value: float | str = float(text)
        except ValueError:
            value = text  # refused below, unless the name is wrong already
        parameters.validated(**{name.strip(): value})  # type: ignore[arg-type]
        changes[name.strip()] = float(value)
    return parameters.validated(**changes)
