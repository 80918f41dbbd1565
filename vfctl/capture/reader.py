"""Recordings, told apart by what they hold and read lazily, front to back, from files and pipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from vfctl.capture.captured import CapturedMessage, UpdateRun
from vfctl.capture.formats.compressed import unpacked
from vfctl.capture.formats.recognition import DESCRIPTIONS, PEEK_BYTES, Format, read, recognise
from vfctl.capture.losses import LossLog
from vfctl.capture.report import Report
from vfctl.capture.source import ByteSource, open_source
from vfctl.errors import CaptureError, InputError, ProtocolError, VfctlError

__all__ = ["Capture", "Format", "open_capture"]


class Capture:
    """A recording. Iterate to get its messages; a file can be iterated again, a pipe cannot.

    Attributes:
        name: the path, or `stdin`.
        format: what it was recognised as.
        compression: what it is compressed with as a file: `gzip`, `zstd`, `xz`, `bzip2`, `lz4`; None if it is not.
        rereadable: whether it can be iterated more than once.
        losses: what could not be read, as far as it has been iterated.
        notes: what was left out though nothing is wrong with it, for people; complete once iterated.
        metadata: what the recorder noted (url, version, …), str to str; complete once iterated.
        connections: what each connection is, by its number, where the file tells: addresses, URL.
    """

    def __init__(self, path: str | Path, source: ByteSource, format: Format, compression: str | None = None) -> None:
        self.name = source.name
        self.format: Format = format
        self.compression = compression
        self.rereadable = source.rereadable
        self._report = Report()
        self.losses: LossLog = self._report.losses
        self.notes: list[str] = self._report.notes
        self.metadata: dict[str, str] = self._report.metadata
        self.connections: dict[int, str] = self._report.connections
        self._path = path
        self._source: ByteSource | None = source

    @property
    def description(self) -> str:
        """What it was recognised as, for people."""
        description = DESCRIPTIONS[self.format]
        return f"{description}, compressed with {self.compression}" if self.compression else description

    def __iter__(self) -> Iterator[CapturedMessage]:
        """As `runs`, message by message."""
        for item in self.runs():
            if isinstance(item, UpdateRun):
                yield from item.messages()
            else:
                yield item

    def runs(self) -> Iterator[CapturedMessage | UpdateRun]:
        """Every message that can be read, from the start; then the first loss is raised, if there was any.

        Memory stays flat: at most one chunk or message is held, and no more than the file really has.

        Raises:
            CaptureError: it is damaged or cut off, or has no messages of VisionFlow's.
            ProtocolError: the same for concatenated V4, with the byte offset.
            InputError: the operating system cannot read on, or a pipe is to be read a second time.
        """
        source, self._source = self._source, None
        if source is None:
            if not self.rereadable:
                raise InputError(f"{self.name} can only be read once", hint="save it to a file first")
            source, _ = unpacked(open_source(self._path))
        self._report.clear()
        try:
            yield from read(self.format, source, self._report)
            if source.damage:
                self.losses.note(source.offset, source.damage, 0, cut_off=True)
        finally:
            source.close()
        if self.losses:
            raise self.error()

    def error(self) -> VfctlError:
        """The error that the losses make: the first of them, and how many there are."""
        first = self.losses[0]
        places = self.losses.places
        more = f" (and {places - 1:,} more places)" if places > 1 else ""
        if self.format == "v4":
            return ProtocolError(f"{first.reason}{more}", offset=first.offset)
        if first.cut_off:
            return CaptureError(
                f"{self.name} is cut off: byte {first.offset}: {first.reason}{more}",
                hint="what came before is intact",
            )
        return CaptureError(f"{self.name} is damaged: byte {first.offset}: {first.reason}{more}")

    def close(self) -> None:
        """Let go of a file that was opened and not iterated. Safe to call more than once."""
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_capture(path: str | Path, stdin: BinaryIO | None = None) -> Capture:
    """Open a recording, whatever it is called: its first bytes say what it is.

    Args:
        path: a file, or `-` for stdin.
        stdin: what to read for `-` in place of this process's own.

    Raises:
        InputError: the file cannot be read.
        CaptureError: it is empty, or of no format that is known.
    """
    source = open_source(path, stdin)
    try:
        inner, compression = unpacked(source)
        start = inner.peek(PEEK_BYTES)
        if not start and inner.damage:
            raise CaptureError(f"{inner.name} cannot be unpacked: {inner.damage}")
        format = recognise(start, inner.name)
    except BaseException:
        source.close()
        raise
    return Capture(path, inner, format, compression)
