"""Options and arguments that several commands share, and the types of their values.

It imports little, so that short commands start quickly. Options of graphs and of the physics are in `graph_options`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_type_hints

import typer

from vfctl.cli.mistakes import check_file, check_url
from vfctl.errors import UsageError
from vfctl.quantities import parse_count, parse_duration_s, parse_positive_duration_s, parse_rate_hz, parse_size_bytes

Options = TypeVar("Options")


def takes_options(kind: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command of a function that takes one dataclass: each of its fields is an option or argument."""

    def decorate(function: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            function(kind(**values))

        hints = get_type_hints(kind, include_extras=True)
        parameters = inspect.signature(kind).parameters.values()
        command.__doc__ = function.__doc__
        command.__annotations__ = hints
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [each.replace(annotation=hints[each.name]) for each in parameters]
        )
        return command

    return decorate


def _unchanged(value: Any) -> Any:
    return value


def _quantity(
    parse: Callable[[str, str], float],
    metavar: str,
    *names: str,
    help: str,
    min: float | None = None,
    max: float | None = None,
    **more: Any,
) -> Any:
    """An option whose value has a unit; the command gets the number in the base unit.

    Args:
        parse: of `vfctl.quantities`; gets the text and the name of the option.
        min, max: in the base unit.
        more: further arguments of `typer.Option`.
    """

    def convert(parameter: typer.CallbackParam, value: Any) -> float | None:
        if not isinstance(value, str):
            return cast("float | None", value)  # a default, which is in the base unit
        if value.startswith("--"):
            raise UsageError(f"{parameter.opts[-1]} needs a value, but {value} follows")
        if metavar == "TIME" and re.fullmatch(r"[\d.]+m", value):
            raise UsageError(f"{parameter.opts[-1]} is {value!r}, expected a duration", hint=f"did you mean {value}in?")
        parsed = parse(value, parameter.opts[-1])
        if (min is not None and parsed < min) or (max is not None and parsed > max):
            expected = f"{min:g} or more" if max is None else f"{min:g} to {max:g}"
            raise UsageError(f"{parameter.opts[-1]} is {value}, expected {expected}")
        return parsed

    return typer.Option(
        *names, parser=_unchanged, callback=convert, metavar=metavar, help=help, min=min, max=max, **more
    )


class Panel:
    """The options of one group of `--help`.

    Args:
        title: None is for the options that are in no group.
    """

    def __init__(self, title: str | None = None) -> None:
        self.option = partial(typer.Option, rich_help_panel=title)
        self.duration = partial(_quantity, parse_duration_s, "TIME", rich_help_panel=title)
        self.positive_duration = partial(_quantity, parse_positive_duration_s, "TIME", rich_help_panel=title)
        self.count = partial(_quantity, parse_count, "COUNT", rich_help_panel=title)
        self.size = partial(_quantity, parse_size_bytes, "SIZE", rich_help_panel=title)
        self.rate = partial(_quantity, parse_rate_hz, "RATE", rich_help_panel=title)


MAIN = Panel()
GRAPH, PHYSICS, NETWORK = Panel("Graph"), Panel("Physics"), Panel("Network")

UrlArgument = Annotated[
    str, typer.Argument(help="The server, for example ws://127.0.0.1:8765/ws.", metavar="URL", callback=check_url)
]
RecordingArgument = Annotated[
    str,
    typer.Argument(help="A recording in any format that vfctl reads; - is stdin.", metavar="FILE", callback=check_file),
]
OutArgument = Annotated[
    Path, typer.Argument(help="File to write: .mcap, or .bin for plain messages.", metavar="OUT", callback=check_file)
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DurationOption = Annotated[
    float | None, MAIN.positive_duration("--duration", help="Stop after this time.", show_default="until Ctrl-C")
]
FromOption = Annotated[
    float | None, MAIN.duration("--from", help="Start at this time of the recording.", show_default="the beginning")
]
ToOption = Annotated[
    float | None, MAIN.duration("--to", help="Stop before this time of the recording.", show_default="the end")
]
PlotOption = Annotated[
    Path | None,
    typer.Option(help="Write a picture to this .png, .svg or .pdf file. Needs vfctl[plot].", metavar="FILE"),
]
MaxStepsOption = Annotated[int, PHYSICS.count(help="Stop the physics after this many steps.", min=1)]
RotateOption = Annotated[
    str | None,
    typer.Option(
        help="Start a new file when the current one reaches this size or age: 100MB, 10min, or both with a comma. "
        "The files are numbered, and each can be read alone.",
        metavar="SIZE|TIME",
        show_default="one file",
    ),
]
HostOption = Annotated[str, NETWORK.option(help="Address to listen on. 0.0.0.0 accepts other machines.")]
PortOption = Annotated[int, NETWORK.option(help="Port to listen on. 0 picks a free one.", min=0, max=65535)]
AllowOriginOption = Annotated[
    list[str] | None,
    NETWORK.option(
        help="Additional allowed origin (CORS) of web pages; * allows all.",
        metavar="ORIGIN",
        show_default="the server's own pages",
    ),
]


def check_range(from_s: float | None, to_s: float | None) -> None:
    """Refuse --from and --to with nothing between them.

    Raises:
        UsageError: --to is not after --from.
    """
    if to_s is not None and to_s <= (from_s or 0.0):
        raise UsageError(f"--to is {to_s:g}s, expected more than --from, which is {from_s or 0.0:g}s")
