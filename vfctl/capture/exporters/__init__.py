"""Export recordings to formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final

from vfctl.capture.exporters.as_csv import write_csv
from vfctl.capture.exporters.as_json import write_json, write_ndjson
from vfctl.capture.exporters.as_npz import write_npz
from vfctl.capture.exporters.as_parquet import write_parquet
from vfctl.capture.exporters.summary import SummaryRow, summary_rows
from vfctl.capture.losses import LossLog
from vfctl.capture.message import CapturedMessage, UpdateRun
from vfctl.capture.reader import Capture
from vfctl.capture.selection import EVERYTHING, Selection, select
from vfctl.capture.timeline import Item, decoded_items
from vfctl.errors import InputError, UsageError, VfctlError

__all__ = ["FORMATS", "SummaryRow", "export", "summary_rows"]

_WRITERS: Final[dict[str, Callable[[Iterator[Item], BinaryIO], None]]] = {
    "json": write_json,
    "ndjson": write_ndjson,
    "csv": write_csv,
    "npz": write_npz,
    "parquet": write_parquet,
}

FORMATS: Final = tuple(_WRITERS)
"""Formats of `export`: `json` is one array, `ndjson` one object per line, `csv` and `parquet` have one row per node,
`npz` has NumPy columns."""


def export(
    messages: Iterable[CapturedMessage],
    format: str,
    out: BinaryIO,
    selection: Selection = EVERYTHING,
    *,
    undecodable: LossLog | None = None,
    on_offset: Callable[[int], None] | None = None,
) -> None:
    """Write a recording in another format, with bounded memory.

    If the recording is damaged, the intact part is written as a complete document before the error is raised.

    Args:
        messages: a Capture, or any messages.
        format: one of FORMATS.
        out: may be a pipe.
        selection: which messages and nodes.
        undecodable: messages that are framed correctly and cannot be decoded are added to it.
        on_offset: called with the byte offset in the file, message by message.

    Raises:
        UsageError: no such format.
        BrokenPipeError: the reader of `out` is gone.
        InputError: `out` or a temporary file cannot be written.
        MissingError: the format needs a package that is not installed.
        VfctlError: as for iterating `messages` and for decoding them.
    """
    writer = _WRITERS.get(format)
    if writer is None:
        raise UsageError(f"no export format is called {format!r}", hint=f"the formats are {', '.join(FORMATS)}")
    damage: list[VfctlError] = []
    source = watched(messages.runs() if isinstance(messages, Capture) else messages, on_offset)
    try:
        writer(_until_damage(select(decoded_items(source, undecodable), selection), damage), out)
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"cannot write the {format} output: {error.strerror or error}") from None
    if damage:
        raise damage[0]


def watched(
    messages: Iterable[CapturedMessage | UpdateRun], on_offset: Callable[[int], None] | None
) -> Iterable[CapturedMessage | UpdateRun]:
    """The same messages. `on_offset` is called with the offset of each."""
    if on_offset is None:
        return messages
    return _with_offsets(messages, on_offset)


def _with_offsets(
    messages: Iterable[CapturedMessage | UpdateRun], on_offset: Callable[[int], None]
) -> Iterator[CapturedMessage | UpdateRun]:
    for message in messages:
        on_offset(message.offset)
        yield message


def _until_damage(items: Iterator[Item], damage: list[VfctlError]) -> Iterator[Item]:
    """All items. An error is added to `damage`, not raised, so that a writer can complete its document."""
    try:
        yield from items
    except VfctlError as error:
        damage.append(error)
