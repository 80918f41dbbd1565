"""Open a recording: recognise its format by the content, and read it front to back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal

from vfctl.capture.formats.concatenated import holds_messages, read_concatenated
from vfctl.capture.formats.deployed_file import looks_deployed, read_deployed_file
from vfctl.capture.formats.har import read_har
from vfctl.capture.formats.mcap import MAGIC, read_mcap
from vfctl.capture.formats.pcap import PCAP_MAGICS, PCAPNG_MAGIC, read_pcap, read_pcapng
from vfctl.capture.formats.websocket_frames import holds_frames, looks_framed, may_be_head
from vfctl.capture.formats.websocket_stream import read_websocket_file
from vfctl.capture.losses import LossLog, Report
from vfctl.capture.message import CapturedMessage, UpdateRun
from vfctl.capture.source import ByteSource, open_source, resembles, unpacked
from vfctl.errors import CaptureError, InputError, ProtocolError, VfctlError
from vfctl.protocol.deployed import FIRST_BYTES
from vfctl.protocol.wire import HEADER, VERSION, check_header

Format = Literal["mcap", "v4", "websocket", "pcap", "pcapng", "har", "v2", "v3", "v5", "sequenced"]
"""`v4` is a concatenation of one or more V4 messages. `v2`, `v3`, `v5` and `sequenced` are one frame of a deployed
server."""

DESCRIPTIONS: Final[dict[Format, str]] = {
    "mcap": "MCAP recording",
    "v4": "V4 messages, one after another",
    "websocket": "WebSocket frames, one after another",
    "pcap": "packet capture (pcap)",
    "pcapng": "packet capture (pcapng)",
    "har": "HTTP archive (HAR)",
    "v2": "one V2 frame of a deployed server",
    "v3": "one V3 frame of a deployed server",
    "v5": "one V5 frame of a deployed server",
    "sequenced": "one sequenced frame (0x42) of a deployed server",
}

PEEK_BYTES: Final = 2**16
"""Number of bytes by which the format is recognised."""

_KNOWN: Final = (
    "an MCAP recording, concatenated V4 messages (04 …), WebSocket frames, pcap, pcapng, HAR, or one frame of a "
    "deployed server (02, 03, 05 or 42)"
)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_MAGICS: Final[dict[bytes, Format]] = {MAGIC: "mcap", PCAPNG_MAGIC: "pcapng", **dict.fromkeys(PCAP_MAGICS, "pcap")}

_READERS: Final[dict[Format, Callable[[ByteSource, Report], Iterator[CapturedMessage | UpdateRun]]]] = {
    "mcap": read_mcap,
    "v4": read_concatenated,
    "websocket": read_websocket_file,
    "pcap": read_pcap,
    "pcapng": read_pcapng,
    "har": read_har,
    "v2": read_deployed_file,
    "v3": read_deployed_file,
    "v5": read_deployed_file,
    "sequenced": read_deployed_file,
}


def read(format: Format, source: ByteSource, report: Report) -> Iterator[CapturedMessage | UpdateRun]:
    """Every message of a source. Damage is added to `report`.

    Raises:
        CaptureError: it is intact and has no VisionFlow messages.
        InputError: the operating system cannot read on.
    """
    return _READERS[format](source, report)


def recognise(start: bytes, name: str) -> Format:
    """The format of a recording that begins with these bytes.

    Raises:
        CaptureError: it is empty, or in no known format.
    """
    if not start:
        raise CaptureError(f"{name} is empty, expected a recording")
    for magic, format in _MAGICS.items():
        if resembles(start, magic):
            return format
        if magic.startswith(start):
            raise CaptureError(
                f"{name} is cut off: it ends after {len(start)} bytes, within the magic of {DESCRIPTIONS[format]}"
            )
    if _is_har(start):
        return "har"
    found = f"{name} starts with {start[:8].hex(' ')}, expected {_KNOWN}"
    refusal: str | None = None
    if start[0] == VERSION:
        try:
            if len(start) >= HEADER.size:
                check_header(start)
        except ProtocolError as error:
            refusal = error.message
        else:
            return "v4"
    form = FIRST_BYTES.get(start[0])
    framed = looks_framed(start)
    if form and not framed:
        if looks_deployed(start):
            return form.value
        refusal = f"what follows does not look like the nodes of {form}"
    if framed or may_be_head(start[:7]) or holds_frames(start):
        return "websocket"
    if holds_messages(start):
        return "v4"
    raise CaptureError(f"{found}: {refusal}" if refusal else found)


def _is_har(start: bytes) -> bool:
    """Whether it may be a JSON document with a `log`."""
    text = start.removeprefix(_BYTE_ORDER_MARK).lstrip()
    return text.startswith(b"{") and (len(start) < _SHORT_BYTES or b'"log"' in text)


_SHORT_BYTES: Final = 64
"""A pipe may begin with fewer bytes than are needed to be certain."""


__all__ = ["Capture", "Format", "open_capture"]


class Capture:
    """A recording. Iterate over it to get its messages. A file can be iterated again, a pipe cannot.

    Attributes:
        name: the path, or `stdin`.
        format: its format.
        compression: compression of the file: `gzip`, `zstd`, `xz`, `bzip2`, `lz4`; None if it is not compressed.
        rereadable: whether it can be iterated more than once.
        losses: what could not be read so far.
        notes: what was left out although it is not damaged. Complete after the iteration.
        metadata: key and value pairs that the recorder stored (url, version, …). Complete after the iteration.
        connections: addresses or URL of each connection, by its number, if the file has them.
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
        """Its format and compression in words."""
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
        """Every intact message from the start. If there was damage, the first loss is raised at the end.

        Memory is bounded: at most one chunk or message is held.

        Raises:
            CaptureError: it is damaged or cut off, or has no VisionFlow messages.
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
        """The error for the losses: the first one, and how many there are."""
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
        """Close a file that was opened and not iterated. Safe to call more than once."""
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_capture(path: str | Path, stdin: BinaryIO | None = None) -> Capture:
    """Open a recording. Its format is detected from its first bytes, not from its name.

    Args:
        path: a file, or `-` for stdin.
        stdin: read for `-` in place of the stdin of this process.

    Raises:
        InputError: the file cannot be read.
        CaptureError: it is empty, or in no known format.
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
