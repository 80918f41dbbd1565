"""What a recording is, told by its first bytes, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

from vfctl.capture.captured import CapturedMessage, UpdateRun
from vfctl.capture.formats import pcap, pcapng
from vfctl.capture.formats.concatenated import holds_messages, read_concatenated
from vfctl.capture.formats.deployed_file import looks_deployed, read_deployed_file
from vfctl.capture.formats.har import read_har
from vfctl.capture.formats.http_upgrade import may_be_head
from vfctl.capture.formats.mcap import MAGIC, read_mcap
from vfctl.capture.formats.websocket_file import read_websocket_file
from vfctl.capture.formats.websocket_frames import holds_frames, looks_framed
from vfctl.capture.report import Report
from vfctl.capture.source import ByteSource, resembles
from vfctl.errors import CaptureError, ProtocolError
from vfctl.protocol.deployed import FIRST_BYTES
from vfctl.protocol.wire import HEADER, VERSION, check_header

Format = Literal["mcap", "v4", "websocket", "pcap", "pcapng", "har", "v2", "v3", "v5", "sequenced"]
"""`v4` is a plain concatenation of V4 messages, of which a single message is the shortest; `v2` and the rest are one
frame of a deployed server."""

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
"""So much is looked at to tell what a recording is."""

_KNOWN: Final = (
    "an MCAP recording, concatenated V4 messages (04 …), WebSocket frames, pcap, pcapng, HAR, or one frame of a "
    "deployed server (02, 03, 05 or 42)"
)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_MAGICS: Final[dict[bytes, Format]] = {MAGIC: "mcap", pcapng.MAGIC: "pcapng", **dict.fromkeys(pcap.MAGICS, "pcap")}

_READERS: Final[dict[Format, Callable[[ByteSource, Report], Iterator[CapturedMessage | UpdateRun]]]] = {
    "mcap": read_mcap,
    "v4": read_concatenated,
    "websocket": read_websocket_file,
    "pcap": pcap.read_pcap,
    "pcapng": pcapng.read_pcapng,
    "har": read_har,
    "v2": read_deployed_file,
    "v3": read_deployed_file,
    "v5": read_deployed_file,
    "sequenced": read_deployed_file,
}


def read(format: Format, source: ByteSource, report: Report) -> Iterator[CapturedMessage | UpdateRun]:
    """Every message of a source that was recognised; what is wrong with it goes to `report`.

    Raises:
        CaptureError: there are no messages of VisionFlow's in it, though nothing is damaged.
        InputError: the operating system cannot read on.
    """
    return _READERS[format](source, report)


def recognise(start: bytes, name: str) -> Format:
    """What a recording is that begins like this.

    Raises:
        CaptureError: it is empty, or nothing that is known.
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
    """Whether it is JSON with a `log`, as far as has been seen."""
    text = start.removeprefix(_BYTE_ORDER_MARK).lstrip()
    return text.startswith(b"{") and (len(start) < _SHORT_BYTES or b'"log"' in text)


_SHORT_BYTES: Final = 64
"""With less than this, a pipe has not said enough."""
