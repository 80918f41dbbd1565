"""Recordings, told apart by what they hold and read lazily, front to back, from files and pipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.mcap_records import MAGIC, McapMessages
from vfctl.capture.source import ByteSource, open_source
from vfctl.errors import CaptureError, InputError, ProtocolError
from vfctl.protocol import MessageSplitter
from vfctl.protocol.layout import check_header
from vfctl.protocol.wire import HEADER, VERSION

Format = Literal["mcap", "v4"]
"""`v4` is a plain concatenation of V4 messages, of which a single message is the shortest."""

_KNOWN: Final = "an MCAP recording (89 4d 43 41 50 …) or concatenated V4 messages (04 …)"


class Capture:
    """A recording. Iterate to get its messages; a file can be iterated again, a pipe cannot.

    Attributes:
        name: the path, or `stdin`.
        format: what it was recognised as.
        rereadable: whether it can be iterated more than once.
        metadata: what the recorder noted (url, version, …), str to str; complete once iterated.
    """

    def __init__(self, path: str | Path, source: ByteSource, format: Format) -> None:
        self.name = source.name
        self.format: Format = format
        self.rereadable = source.rereadable
        self.metadata: dict[str, str] = {}
        self._path = path
        self._source: ByteSource | None = source

    def __iter__(self) -> Iterator[CapturedMessage]:
        """Every message that can be read, from the start.

        Memory stays flat: at most one chunk or message is held, and no more than the file really has.

        Raises:
            CaptureError: MCAP that is damaged or cut off; raised once all that was readable has been yielded.
            ProtocolError: the same for concatenated V4, with the byte offset.
            InputError: the operating system cannot read on, or a pipe is to be read a second time.
        """
        source, self._source = self._source, None
        if source is None:
            if not self.rereadable:
                raise InputError(f"{self.name} can only be read once", hint="save it to a file first")
            source = open_source(self._path)
        try:
            if self.format == "mcap":
                yield from McapMessages(source, self.metadata)
            else:
                yield from _split(source)
        finally:
            source.close()

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
        format = _recognise(source.peek(len(MAGIC)), source.name)
    except BaseException:
        source.close()
        raise
    return Capture(path, source, format)


def _recognise(start: bytes, name: str) -> Format:
    if not start:
        raise CaptureError(f"{name} is empty, expected a recording")
    if start == MAGIC:
        return "mcap"
    if MAGIC.startswith(start):
        raise CaptureError(f"{name} is cut off: it ends after {len(start)} bytes, within the MCAP magic")
    found = f"{name} starts with {start.hex(' ')}, expected {_KNOWN}"
    if start[0] != VERSION:
        raise CaptureError(found)
    if len(start) >= HEADER.size:
        try:
            check_header(start)
        except ProtocolError as error:
            raise CaptureError(f"{found}: {error.message}") from None
    return "v4"


def _split(source: ByteSource) -> Iterator[CapturedMessage]:
    splitter = MessageSplitter()
    while piece := source.read_some():
        offset = splitter.offset
        for payload in splitter.feed(piece):
            yield CapturedMessage(payload, None, offset)
            offset += len(payload)
    splitter.finish()
