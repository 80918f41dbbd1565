"""`vfctl decode`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vfctl.cli.output import data, until_reader_leaves

if TYPE_CHECKING:
    from vfctl.capture import Capture


class Format(StrEnum):
    """How to print; a test holds them against the exporters."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    NPZ = "npz"


def command(
    file: Annotated[str, typer.Argument(help="Recording, or a file of plain messages; - is stdin.")],
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    limit: Annotated[int | None, typer.Option(help="Only so many messages.", min=0)] = None,
) -> None:
    """Print what a recording holds.

    What kind of file it is, its content tells. A broken file prints what is readable, then says where it breaks.
    """
    from vfctl.capture import open_capture
    from vfctl.errors import UsageError

    if format is Format.NPZ and sys.stdout.isatty():
        raise UsageError("npz is binary, and stdout is a terminal", hint=f"vfctl decode {file} --format npz > out.npz")
    with open_capture(file) as capture, until_reader_leaves():
        if format is Format.TABLE:
            _print_table(capture, limit)
        else:
            from vfctl.capture.exporters import export

            export(capture, format.value, sys.stdout.buffer, limit)


_COLUMNS = ("time s", "type", "flags", "bytes", "count", "sequence", "detail")
_WIDTHS = (10, 16, 26, 9, 7, 10, 0)


def _print_table(capture: Capture, limit: int | None) -> None:
    """Line by line, so that a recording of any length begins to print at once."""
    from vfctl.capture.exporters.summary import summary_rows

    console = data()
    console.print("".join(title.ljust(width) for title, width in zip(_COLUMNS, _WIDTHS, strict=True)), style="bold")
    shown = 0
    for row in summary_rows(capture, limit):
        shown += 1
        cells = (
            f"{row.time_s:.3f}",
            row.type,
            "|".join(row.flags),
            f"{row.bytes}",
            "" if row.count is None else f"{row.count}",
            "" if row.sequence is None else f"{row.sequence}",
            row.detail,
        )
        line = "".join(
            cell.ljust(width - 1) + " " if width else cell for cell, width in zip(cells, _WIDTHS, strict=True)
        )
        sys.stdout.write(line.rstrip() + "\n")
    if limit is not None and shown == limit:
        from vfctl.cli.output import say

        say(f"stopped after {limit} messages (--limit)")
