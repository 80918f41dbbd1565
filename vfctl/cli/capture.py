"""`vfctl capture`: inspect, check, repair, cut, merge and convert recordings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from vfctl.capture import Capture, open_capture
from vfctl.capture.info import CaptureInfo, summary_of
from vfctl.capture.losses import Loss
from vfctl.capture.tools import convert as converting
from vfctl.capture.tools.check import CheckReport
from vfctl.capture.tools.check import check as examine
from vfctl.capture.tools.check import repair as recover
from vfctl.capture.tools.copying import CopyReport
from vfctl.capture.tools.cut import cut as copy
from vfctl.capture.tools.merge import merge as combine
from vfctl.cli.decode import print_format, print_losses
from vfctl.cli.help import Command, Group
from vfctl.cli.options import (
    FromOption,
    JsonOption,
    OutArgument,
    OverwriteOption,
    RecordingArgument,
    ToOption,
    check_range,
)
from vfctl.cli.progress import Progress, length_of
from vfctl.cli.signals import clean_up_on_sigterm
from vfctl.errors import CaptureError, InputError, UsageError, VfctlError
from vfctl.quantities import format_count, format_size
from vfctl.terminal.output import log_line, stdout_console, until_stdout_closes

group = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Inspect, check, repair, cut, merge and convert recordings.",
)


@group.command(cls=Command, name="info")
def info(file: RecordingArgument, json_output: JsonOption = False) -> None:
    """Print what a recording contains. The summary of a damaged one covers what is intact; the exit code is 5.

    Examples:
        vfctl capture info run.mcap
        vfctl capture info run.mcap --json
    """
    with _opened(file, "reading") as (capture, progress):
        summary = summary_of(capture, progress)
    with until_stdout_closes():
        if json_output:
            typer.echo(json.dumps(_info_document(summary), ensure_ascii=False))
        else:
            _print_info(summary)
    _end(summary.damage)


@group.command(cls=Command, name="check")
def check(
    file: RecordingArgument,
    json_output: JsonOption = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Also fail if updates are missing, or times run backwards.")
    ] = False,
) -> None:
    """Read and decode a whole recording. Exit code 0: intact; 5: damaged; 1: no recording, or nothing is intact.

    Examples:
        vfctl capture check run.mcap --strict
    """
    try:
        with _opened(file, "checking") as (capture, progress):
            report = examine(capture, progress)
    except CaptureError as error:  # its format is unknown
        raise InputError(error.message, hint=error.hint) from None
    with until_stdout_closes():
        if json_output:
            typer.echo(json.dumps(_check_document(report)))
        else:
            _print_check(report)
    if not report.messages and report.damage:
        raise InputError(report.damage.message, hint=report.damage.hint)
    _end(report.damage)
    if strict and (report.missing_rounds or report.backwards):
        raise CaptureError("the recording is whole, but its stream is not (--strict)")


@group.command(cls=Command, name="repair")
def repair(file: RecordingArgument, out: OutArgument, overwrite: OverwriteOption = False) -> None:
    """Recover every intact message into a new .mcap. Exit code 0: all; 5: some are lost; 1: nothing.

    Examples:
        vfctl capture repair broken.mcap repaired.mcap
    """
    try:
        with _opened(file, "repairing") as (capture, progress):
            report = recover(capture, out, overwrite=overwrite, on_offset=progress)
    except CaptureError as error:
        raise InputError(error.message, hint=error.hint) from None
    log_line(f"{out}: {format_count(report.messages, 'message')}")
    _warn_of_made_up_times(report)
    print_losses(report.losses, report.undecodable)
    if report.lost_nothing:
        return
    places = report.losses.places + report.undecodable.places
    lost = sum(loss.bytes for log in (report.losses, report.undecodable) for loss in log)
    raise CaptureError(f"{format_size(lost)} in {format_count(places, 'place')} could not be recovered")


@group.command(cls=Command, name="cut")
def cut(
    file: RecordingArgument,
    out: OutArgument,
    from_: FromOption = None,
    to: ToOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Copy a part of a recording. The output starts with a snapshot at --from.

    Examples:
        vfctl capture cut run.mcap part.mcap --from 10s --to 1.5min
    """
    check_range(from_, to)
    with _opened(file, "cutting") as (capture, progress):
        report = copy(capture, out, from_ or 0.0, to, overwrite=overwrite, on_offset=progress)
    _finish(out, report, "from clients, which a .bin cannot store")


@group.command(cls=Command, name="merge")
def merge(
    files: Annotated[
        list[str], typer.Argument(help="The recordings, in any order, then the file to write.", metavar="FILE... OUT")
    ],
    overwrite: OverwriteOption = False,
) -> None:
    """Merge recordings, sorted by arrival time. The files of a rotated series become one recording again.

    Examples:
        vfctl capture merge run-0001.mcap run-0002.mcap run.mcap
    """
    *paths, out = files
    if not paths:
        raise UsageError(
            "merge takes two or more recordings and the file to write",
            hint="vfctl capture merge A.mcap B.mcap OUT.mcap",
        )
    lengths = [length_of(path) for path in paths]
    total = sum(length or 0 for length in lengths) if all(lengths) else None
    with clean_up_on_sigterm(), Progress("merging", total) as progress:
        report = combine(paths, Path(out), overwrite=overwrite, on_offset=progress)
    _finish(Path(out), report, "from clients, which a .bin cannot store")


@group.command(cls=Command, name="convert")
def convert(
    file: RecordingArgument,
    out: OutArgument,
    encoding: Annotated[
        converting.Encoding | None,
        typer.Option(help="Encoding of graphs and positions in the output.", show_default="unchanged"),
    ] = None,
    connection: Annotated[
        int | None,
        typer.Option(help="Only this connection of a packet capture or HAR.", min=0, metavar="N", show_default="all"),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Convert a recording to .mcap, or to .bin (the messages that the server sent, concatenated).

    Examples:
        vfctl capture convert session.pcap run.mcap --connection 2
        vfctl capture convert run.mcap run.bin --encoding raw
    """
    with _opened(file, "converting") as (capture, progress):
        report = converting.convert(
            capture, out, encoding=encoding, connection=connection, overwrite=overwrite, on_offset=progress
        )
    _finish(out, report, "from clients or other connections")


@contextmanager
def _opened(file: str, what: str) -> Iterator[tuple[Capture, Progress]]:
    with open_capture(file) as capture:
        print_format(capture, file)
        with clean_up_on_sigterm(), Progress(what, length_of(file)) as progress:
            yield capture, progress


def _finish(out: Path, report: CopyReport, where: str) -> None:
    size = f", {format_size(out.stat().st_size)}" if out.is_file() else ""
    log_line(f"{out}: {format_count(report.messages, 'message')}{size}")
    if report.left_out:
        log_line(f"{format_count(report.left_out, 'message')} left out ({where})")
    _warn_of_made_up_times(report)
    if len(report.losses) + len(report.undecodable) > 1 or report.undecodable:
        print_losses(report.losses, report.undecodable)
    _end(report.damage)
    if report.undecodable:
        raise CaptureError(
            f"left out because they cannot be decoded: {format_count(report.undecodable.places, 'message')}"
        )


def _warn_of_made_up_times(report: CopyReport) -> None:
    if report.made_up_times:
        log_line("the recording has no arrival times: the output has 50 ms per frame, starting in 1970")


def _end(damage: VfctlError | None) -> None:
    if damage:
        raise damage


def _loss(loss: Loss) -> dict[str, Any]:
    return {"offset": loss.offset, "bytes": loss.bytes, "reason": loss.reason, "places": loss.places}


def _info_document(summary: CaptureInfo) -> dict[str, Any]:
    document = asdict(summary)
    document["losses"] = [_loss(loss) for loss in summary.losses]
    document["damage"] = summary.damage and summary.damage.message
    return {"schema": "vfctl.capture-info/1", **document}


def _check_document(report: CheckReport) -> dict[str, Any]:
    return {
        "schema": "vfctl.capture-check/1",
        "whole": report.damage is None,
        "messages": report.messages,
        "losses": [_loss(loss) for loss in report.losses],
        "undecodable": [_loss(loss) for loss in report.undecodable],
        "missing_rounds": {str(number): missing for number, missing in sorted(report.missing_rounds.items())},
        "backwards": report.backwards,
        "graphless": report.graphless,
        "damage": report.damage and report.damage.message,
    }


def _print_info(summary: CaptureInfo) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")  # a URL is one word, and should be there whole
    rows = [("format", summary.description), ("messages", f"{summary.messages:,}, {format_size(summary.bytes)}")]
    rows += [("", f"{count:,} {name}") for name, count in summary.counts.items()]
    if summary.began_ns is not None:
        rows.append(("began", f"{datetime.fromtimestamp(summary.began_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S.%f} UTC"))
    rows.append(("duration", f"{summary.duration_s:.3f} s"))
    if summary.updates_per_s is not None:
        rows.append(("updates", f"{summary.updates_per_s:.3g}/s"))
    if summary.encodings:
        rows.append(("encodings", ", ".join(f"{count:,} {name}" for name, count in summary.encodings.items())))
    if summary.nodes is not None:
        edges = "" if summary.edges is None else f", {summary.edges:,} edges"
        rows.append(("graph", f"{summary.nodes:,} nodes{edges}"))
    for each in summary.connections[:20] if len(summary.connections) > 1 or summary.connections[:1] else ():
        sent = f"{each.from_server:,} from the server, {each.from_client:,} from the client"
        rows.append((f"connection {each.number}", f"{sent}{f'; {each.about}' if each.about else ''}"))
    if len(summary.connections) > 20:
        rows.append(("", f"… and {len(summary.connections) - 20:,} more connections"))
    rows += sorted(summary.metadata.items())
    rows += [("note", note) for note in summary.notes]
    rows += [("lost", f"byte {loss.offset}: {loss.reason} ({loss.bytes:,} bytes)") for loss in summary.losses[:20]]
    if len(summary.losses) > 20:
        rows.append(("", f"… and {len(summary.losses) - 20:,} more places"))
    for name, value in rows:
        # Without control characters, because text of a peer or a file must not control the terminal.
        shown = "".join(character if character.isprintable() else "�" for character in value)
        table.add_row(f"[bold]{escape(name)}[/]", escape(shown))
    stdout_console().print(table)


def _print_check(report: CheckReport) -> None:
    lines = [f"{format_count(report.messages, 'message')} read and decoded"]
    for number, missing in sorted(report.missing_rounds.items()):
        lines.append(f"connection {number}: {format_count(missing, 'update')} missing")
    if report.backwards:
        lines.append(f"{format_count(report.backwards, 'message')} arrived earlier than the message before")
    lines += [f"connection {number} has positions and no FullGraph" for number in report.graphless]
    lines.append("damaged" if report.damage else "whole")
    typer.echo("\n".join(lines))
    print_losses(report.losses, report.undecodable)
