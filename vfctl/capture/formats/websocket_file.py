"""WebSocket frames as bytes: one direction or both, one behind another, with handshakes or without."""

from __future__ import annotations

from collections.abc import Iterator

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.formats.websocket_messages import Tally, WebSocketConnection
from vfctl.capture.formats.websocket_stream import WebSocketStream
from vfctl.capture.report import Report
from vfctl.capture.source import ByteSource
from vfctl.errors import CaptureError


def read_websocket_file(source: ByteSource, report: Report) -> Iterator[CapturedMessage]:
    """The messages of both directions; each request for a WebSocket begins a connection.

    Raises:
        CaptureError: there are none in it.
        InputError: the operating system cannot read on.
    """
    tally = Tally(report)
    current = [WebSocketConnection(tally)]

    def renew() -> WebSocketConnection:
        current[0] = WebSocketConnection(tally)
        return current[0]

    stream = WebSocketStream(current[0], from_start=True, renew=renew)
    count = 0
    while True:
        offset = source.offset
        piece = source.read_some()
        if not piece:
            break
        for message in stream.feed(piece, offset, None):
            count += 1
            yield message
    for message in stream.finish(closed=True):
        count += 1
        yield message
    current[0].ended()
    tally.summarise()
    if not count and not report.losses:
        raise CaptureError(
            f"{source.name} has no VisionFlow messages in its WebSocket frames", hint="; ".join(report.notes) or None
        )
