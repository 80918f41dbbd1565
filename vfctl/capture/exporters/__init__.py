"""Recordings in formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Final

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.exporters.as_csv import write_csv
from vfctl.capture.exporters.as_json import write_json, write_ndjson
from vfctl.capture.exporters.as_npz import write_npz
from vfctl.capture.exporters.summary import SummaryRow, summary_rows
from vfctl.capture.timeline import DecodedMessage, decoded
from vfctl.errors import InputError, UsageError, VfctlError

__all__ = ["FORMATS", "SummaryRow", "export", "summary_rows"]

_WRITERS: Final[dict[str, Callable[[Iterator[DecodedMessage], BinaryIO], None]]] = {
    "json": write_json,
    "ndjson": write_ndjson,
    "csv": write_csv,
    "npz": write_npz,
}

FORMATS: Final = tuple(_WRITERS)
"""The formats of `export`: `json` one array, `ndjson` one object a line, `csv` one row a node, `npz` NumPy columns."""


def export(messages: Iterable[CapturedMessage], format: str, out: BinaryIO, limit: int | None = None) -> None:
    """Write a recording in another format, with flat memory.

    Where a recording is damaged, what was readable is written and the document properly closed before the error comes.

    Args:
        messages: a Capture, or any messages.
        format: one of FORMATS.
        out: need not be seekable.
        limit: most messages to read; None reads them all.

    Raises:
        UsageError: no such format.
        BrokenPipeError: nobody reads `out` any more.
        InputError: `out` or a temporary file cannot be written.
        VfctlError: as for iterating `messages` and for decoding them.
    """
    writer = _WRITERS.get(format)
    if writer is None:
        raise UsageError(f"no export format is called {format!r}", hint=f"the formats are {', '.join(FORMATS)}")
    damage: list[VfctlError] = []
    try:
        writer(_until_damage(decoded(islice(messages, limit)), damage), out)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"cannot write the {format} output: {error.strerror or error}") from None
    if damage:
        raise damage[0]


def _until_damage(messages: Iterator[DecodedMessage], damage: list[VfctlError]) -> Iterator[DecodedMessage]:
    """All messages; instead of raising, leave the error for later, so that a writer can close its document."""
    try:
        yield from messages
    except VfctlError as error:
        damage.append(error)
