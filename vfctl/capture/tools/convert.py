"""Convert a recording to another format, or its positions to another encoding."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from vfctl.capture.message import CapturedMessage, Direction, Form
from vfctl.capture.reader import Capture
from vfctl.capture.timeline import CaptureDecoder, note_undecodable
from vfctl.capture.tools.copying import CopyReport, OnOffset, copy_to, finish, has_room, readable
from vfctl.errors import ProtocolError
from vfctl.protocol import FullGraph, MessageType, PositionUpdate, encode


class Encoding(StrEnum):
    """Encodings to which FullGraphs and PositionUpdates can be converted."""

    RAW = "raw"
    LZ4 = "lz4"


def convert(
    capture: Capture,
    target: Path,
    *,
    encoding: Encoding | None = None,
    connection: int | None = None,
    overwrite: bool = False,
    on_offset: OnOffset | None = None,
) -> CopyReport:
    """Copy a recording into a new file, `.mcap` or `.bin` by its suffix.

    Args:
        encoding: of FullGraphs and PositionUpdates of V4 (also COMPACT ones); None keeps every message unchanged.
        connection: copy only this one.

    Raises:
        UsageError: another suffix.
        InputError: no message was left; a file cannot be read or written; or frames of deployed servers, which do not
            have their length in them, would be written to a `.bin`.
    """
    report = CopyReport()
    decoder = CaptureDecoder()
    with copy_to(target, overwrite=overwrite) as copy:
        for stamp in readable(capture, report, on_offset):
            captured = stamp.timed.captured
            if not has_room(target, captured) or connection not in (None, captured.connection):
                report.left_out += 1
                continue
            if encoding is not None:
                try:
                    captured = encoded(captured, encoding, decoder)
                except ProtocolError as error:
                    note_undecodable(report.undecodable, stamp.timed.number, captured, error)
                    continue
            copy.write(captured, stamp, capture.metadata)
        return finish(copy, capture, report)


def encoded(captured: CapturedMessage, encoding: Encoding, decoder: CaptureDecoder) -> CapturedMessage:
    """A message with its positions in an encoding. A message without positions stays unchanged.

    Raises:
        ProtocolError: it cannot be decoded.
    """
    holds_nodes = captured.payload[1:2] in (bytes([MessageType.FULL_GRAPH]), bytes([MessageType.POSITION_UPDATE]))
    if captured.form is not Form.V4 or captured.direction is Direction.CLIENT or not holds_nodes:
        return captured
    message = decoder.decode(captured)
    compressed = encoding is Encoding.LZ4
    if isinstance(message, PositionUpdate) and (message.compact or message.compressed != compressed):
        return captured._replace(payload=encode(replace(message, compressed=compressed, compact=False)))
    if isinstance(message, FullGraph) and message.compressed != compressed:
        return captured._replace(payload=encode(replace(message, compressed=compressed)))
    return captured
