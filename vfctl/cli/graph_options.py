"""Options of the commands that lay out or serve a graph: which graph, which physics, which device."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from vfctl.cli.mistakes import check_file
from vfctl.cli.options import GRAPH, PHYSICS
from vfctl.errors import UsageError
from vfctl.graph.generators import GENERATORS
from vfctl.physics import PARAMETERS, PhysicsParameters
from vfctl.physics.device import Device
from vfctl.server.options import LiveGraph

DEFAULT_NODES: Final = 1000

Generator = StrEnum("Generator", {name.upper().replace("-", "_"): name for name in GENERATORS})  # type: ignore[misc]

GraphArgument = Annotated[
    Path | None,
    typer.Argument(
        help="Graph file: node-link JSON, GraphML, CSV edge list, Turtle or RDF/XML.",
        metavar="GRAPH",
        callback=check_file,
        show_default="a bundled ontology of 316 nodes",
    ),
]
NodesOption = Annotated[
    int | None,
    GRAPH.count(
        help="Generate a graph of this many nodes instead.", min=1, show_default=f"{DEFAULT_NODES} with --generator"
    ),
]
GeneratorOption = Annotated[
    Generator | None, GRAPH.option(help="Kind of graph to generate.", show_default="scale-free with --nodes")
]
SeedOption = Annotated[int, GRAPH.option(help="Seed of the generator and of the first positions.", min=0)]
SetOption = Annotated[
    list[str] | None,
    PHYSICS.option(
        "--set",
        help="Set a physics parameter, for example spring_k=120. docs/physics.md lists all.",
        metavar="NAME=VALUE",
        autocompletion=lambda: [f"{name}=" for name in PARAMETERS],
    ),
]
DeviceOption = Annotated[
    Device, PHYSICS.option(help="Where to compute. `auto` uses a working GPU. `gpu` fails without one.")
]


def live_graph(graph: Path | None, nodes: int | None, generator: Generator | None, seed: int) -> LiveGraph:
    """The graph that the options ask for.

    Raises:
        UsageError: both a file and a generated graph.
    """
    generated = nodes is not None or generator is not None
    if graph is not None and generated:
        raise UsageError("a graph is either read from a file or generated: give GRAPH or --nodes, not both")
    return LiveGraph(
        file=None if graph is None else str(graph),
        generator=str(generator or "scale-free") if generated else None,
        nodes=nodes or DEFAULT_NODES,
        seed=seed,
    )


def with_settings(parameters: PhysicsParameters, settings: Sequence[str] | None) -> PhysicsParameters:
    """The parameters with the changes of `--set`. The last setting of a name wins.

    Raises:
        UsageError: not NAME=VALUE, an unknown name, or a value that is no number or out of range.
    """
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
