"""`vfctl decode`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from vfctl.capture import Capture, open_capture
from vfctl.capture.exporters import FORMATS, export, summary_rows, watched
from vfctl.capture.exporters.as_parquet import check_parquet
from vfctl.capture.exporters.plot import CapturePlot
from vfctl.capture.losses import LossLog
from vfctl.capture.selection import TYPES, Selection, select, types_named
from vfctl.capture.timeline import decoded_items
from vfctl.cli.options import FromOption, OverwriteOption, Panel, RecordingArgument, ToOption, check_range
from vfctl.cli.progress import Progress, length_of, stdout_is_watched
from vfctl.cli.signals import clean_up_on_sigterm
from vfctl.errors import UsageError, VfctlError
from vfctl.files import check_writable, replacing
from vfctl.graph.picture import picture_format
from vfctl.quantities import format_count, format_size, parse_count_or_duration
from vfctl.terminal.output import log_line, stdout_console, until_stdout_closes

SELECTION = Panel("Selection")

Format = StrEnum("Format", {name.upper(): name for name in ("table", *FORMATS)})  # type: ignore[misc]
_BINARY = ("npz", "parquet")


def command(
    file: RecordingArgument,
    format: Annotated[Format | None, typer.Option(help="Output format.", show_default="table")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", metavar="FILE", show_default="stdout")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Plot the paths of nodes, and the sizes and intervals of frames, to this .png, .svg or .pdf file.",
            metavar="FILE",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    type: Annotated[
        list[str] | None,
        SELECTION.option(
            help="Only messages of this type, for example PositionUpdate.",
            metavar="NAME",
            autocompletion=lambda: list(TYPES),
            show_default="all types",
        ),
    ] = None,
    node: Annotated[
        list[str] | None,
        SELECTION.option(help="Only this node, by its id or label.", metavar="ID|LABEL", show_default="all nodes"),
    ] = None,
    from_: FromOption = None,
    to: ToOption = None,
    every: Annotated[
        str | None,
        SELECTION.option(
            help="Only each N-th PositionUpdate, or one per 10s. Other messages stay.",
            metavar="COUNT|TIME",
            show_default="all",
        ),
    ] = None,
    limit: Annotated[
        int | None, SELECTION.count(help="Stop after this many messages.", show_default="no limit")
    ] = None,
) -> None:
    """Print the messages of a recording, or plot them.

    The format is detected from the content. Of a damaged file, vfctl prints everything that is intact, then where the
    damage is. The exit code is 5 then.

    Examples:
        vfctl decode run.mcap --limit 20
        vfctl decode run.mcap --format csv -o run.csv --node Left --from 10s --to 1min
        vfctl decode session.pcap --plot run.png
    """
    if plot is not None and (format is not None or output is not None):
        raise UsageError("--plot replaces --format and --output", hint="run vfctl decode twice to get both")
    chosen = format or Format("table")
    if chosen in _BINARY and output is None and sys.stdout.isatty():
        raise UsageError(f"{chosen} is binary, and stdout is a terminal", hint=f"--output out.{chosen}")
    if chosen == "parquet":
        check_parquet()
    selection = _selection(type, node, from_, to, every, limit)
    target = None if output is None or str(output) == "-" else output
    if target is not None:
        check_writable(target, overwrite=overwrite)
    if plot is not None:
        picture_format(plot)
        check_writable(plot, overwrite=overwrite)
    with open_capture(file) as capture:
        print_format(capture, file)
        with (
            clean_up_on_sigterm(),
            Progress("reading", length_of(file), silent=_shares_terminal(target, plot)) as progress,
        ):
            if plot is not None:
                _plot(capture, selection, plot, overwrite, progress)
            elif target is not None:
                _to_file(capture, chosen, selection, target, overwrite, progress)
            else:
                with until_stdout_closes():
                    _print(capture, chosen, selection, sys.stdout.buffer, progress)


def print_format(capture: Capture, file: str) -> None:
    """Print the format of the file, and its size."""
    length = length_of(file)
    log_line(f"{capture.name}: {capture.description}{f', {format_size(length)}' if length else ''}")


def print_losses(*logs: LossLog, most: int = 20) -> None:
    """Print each place that could not be read, in the order of offsets, and of many only the first."""
    losses = sorted((loss for log in logs for loss in log), key=lambda loss: loss.offset)
    for loss in losses[:most]:
        lost = f" ({loss.bytes:,} bytes lost)" if loss.bytes else ""
        more = f", {loss.places:,} places from here on" if loss.places > 1 else ""
        log_line(f"byte {loss.offset}: {loss.reason}{lost}{more}")
    if len(losses) > most:
        log_line(f"… and {sum(loss.places for loss in losses[most:]):,} more places")


def _shares_terminal(target: Path | None, plot: Path | None) -> bool:
    return target is None and plot is None and stdout_is_watched()


def _selection(
    types: list[str] | None,
    nodes: list[str] | None,
    from_s: float | None,
    to_s: float | None,
    every: str | None,
    limit: int | None,
) -> Selection:
    check_range(from_s, to_s)
    every_count, every_s = (None, None) if every is None else parse_count_or_duration(every, "--every")
    return Selection(types_named(types or []), tuple(nodes or ()), from_s, to_s, every_count, every_s, limit)


def _to_file(
    capture: Capture, format: Format, selection: Selection, target: Path, overwrite: bool, progress: Progress
) -> None:
    damage: VfctlError | None = None
    with replacing(target, overwrite=overwrite) as draft, draft.open("wb") as out:
        try:
            _print(capture, format, selection, out, progress)
        except VfctlError as error:
            if error.exit_code != 5:
                raise
            damage = error  # the file has what was intact
    if damage:
        raise damage


def _print(capture: Capture, format: Format, selection: Selection, out: BinaryIO, progress: Progress) -> None:
    undecodable = LossLog()
    try:
        if format == "table":
            _print_table(capture, selection, undecodable, out, progress)
        else:
            export(capture, format.value, out, selection, undecodable=undecodable, on_offset=progress)
    finally:
        progress.close()
        _tell_rest(capture, undecodable)


def _tell_rest(capture: Capture, undecodable: LossLog) -> None:
    for note in capture.notes:
        log_line(note)
    if len(capture.losses) + len(undecodable) > 1:  # a single one is the error that ends the command
        print_losses(capture.losses, undecodable)


def _plot(capture: Capture, selection: Selection, plot: Path, overwrite: bool, progress: Progress) -> None:
    picture = CapturePlot(chosen=bool(selection.nodes))
    undecodable = LossLog()
    damage: VfctlError | None = None
    try:
        picture.add_all(select(decoded_items(watched(capture.runs(), progress), undecodable), selection))
    except VfctlError as error:
        if error.exit_code != 5:
            raise
        damage = error
    progress.close()
    with replacing(plot, overwrite=overwrite) as draft, draft.open("wb") as out:
        picture.draw(out, picture_format(plot), Path(capture.name).name)
    _tell_rest(capture, undecodable)
    if damage:
        raise damage


_COLUMNS = ("time s", "type", "flags", "bytes", "count", "sequence", "detail")
_WIDTHS = (10, 16, 26, 9, 7, 10, 0)


def _print_table(
    capture: Capture, selection: Selection, undecodable: LossLog, out: BinaryIO, progress: Progress
) -> None:
    """Print line by line, so that the first lines of a long recording appear at once."""
    title = "".join(title.ljust(width) for title, width in zip(_COLUMNS, _WIDTHS, strict=True))
    if out is sys.stdout.buffer:
        stdout_console().print(title, style="bold")
        sys.stdout.flush()
    else:
        out.write(title.encode() + b"\n")
    shown = 0
    for row in summary_rows(watched(capture.runs(), progress), selection, undecodable=undecodable):
        shown += 1
        who = f"connection {row.connection} " if row.connection else ""
        who += "client: " if row.direction == "client" else (": " if who else "")
        cells = (
            f"{row.time_s:.3f}",
            row.type,
            "|".join(row.flags),
            f"{row.bytes}",
            "" if row.count is None else f"{row.count}",
            "" if row.sequence is None else f"{row.sequence}",
            who.replace(" :", ":") + row.detail,
        )
        line = "".join(
            cell.ljust(width - 1) + " " if width else cell for cell, width in zip(cells, _WIDTHS, strict=True)
        )
        out.write(line.rstrip().encode() + b"\n")
    if selection.limit is not None and shown == selection.limit:
        log_line(f"stopped after {format_count(selection.limit, 'message')} (--limit)")
