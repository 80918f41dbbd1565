"""One table row per message: plain data that a command renders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from vfctl.capture.exporters.as_json import dump
from vfctl.capture.losses import LossLog
from vfctl.capture.message import CapturedMessage, Direction, UpdateRun
from vfctl.capture.selection import EVERYTHING, Selection, select
from vfctl.capture.timeline import DecodedRun, decoded, type_name_of
from vfctl.protocol import (
    CompactUpdate,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    Message,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    VoiceData,
    describe,
)
from vfctl.protocol.deployed import DeployedFrame, NodeFlag

_DETAIL_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A table row for one message.

    Attributes:
        number: index in the recording, from 0.
        time_s: seconds from the start of the recording.
        type: name of the type.
        flags: names of the flags.
        direction: the sender.
        connection: number of its connection within the file.
        bytes: length of the message.
        count: number of nodes or voice samples; None for other types.
        sequence: of its trailer; None if it is not TIMED.
        detail: its other content in a few words.
    """

    number: int
    time_s: float
    type: str
    flags: tuple[str, ...]
    direction: Direction
    connection: int
    bytes: int
    count: int | None
    sequence: int | None
    detail: str


def summary_rows(
    messages: Iterable[CapturedMessage | UpdateRun],
    selection: Selection = EVERYTHING,
    *,
    undecodable: LossLog | None = None,
) -> Iterator[SummaryRow]:
    """One row per selected message.

    Raises:
        VfctlError: as for iterating and decoding `messages`. Raised after all readable ones have been yielded.
    """
    for item in select(decoded(messages, undecodable), selection):
        assert not isinstance(item, DecodedRun), "decoded() yields single messages"
        message = item.message
        trailer = getattr(message, "trailer", None)
        yield SummaryRow(
            number=item.number,
            time_s=item.time_s,
            type=type_name_of(message),
            flags=() if isinstance(message, DeployedFrame) else tuple(flag.name or "" for flag in describe(message)[1]),
            direction=item.direction,
            connection=item.connection,
            bytes=item.bytes,
            count=_count(message),
            sequence=message.sequence if isinstance(message, DeployedFrame) else trailer and trailer.sequence,
            detail=_short(_detail(message)),
        )


def _count(message: Message | DeployedFrame) -> int | None:
    match message:
        case DeployedFrame():
            return len(message.records)
        case FullGraph() | PositionUpdate():
            return len(message.nodes)
        case CompactUpdate():
            return message.count
        case VoiceData():
            return len(message.samples)
        case _:
            return None


def _short(text: str) -> str:
    """Cut to a table line, without control characters, which a peer could use against the terminal."""
    printable = "".join(character if character.isprintable() else "�" for character in text[:_DETAIL_CHARACTERS])
    return printable + "…" if len(text) > _DETAIL_CHARACTERS else printable


def _detail(message: Message | DeployedFrame) -> str:
    match message:
        case DeployedFrame():
            return _deployed_detail(message)
        case FullGraph():
            return f"{len(message.edges)} edges"
        case PositionUpdate():
            return "settled" if message.settled else ""
        case CompactUpdate():
            return f"{len(message.section)} bytes of quantised positions"
        case NodeSelect():
            return "cleared" if message.node_id is None else f"node {message.node_id}"
        case NodeDrag():
            released = ", released" if message.final else ""
            return f"node {message.node_id} at {message.x:g} {message.y:g} {message.z:g}{released}"
        case Heartbeat(responder_timestamp_us=None):
            return "request"
        case Heartbeat():
            return "reply"
        case FilterUpdate():
            return dump(message.filter.to_json())
        case VoiceData():
            return f"stream {message.stream}, {message.sample_rate_hz} Hz"
        case Notice():
            return dump(message.body)
        case Reserved():
            return f"type 0x{message.type_id:02x}"


def _deployed_detail(frame: DeployedFrame) -> str:
    """Number of nodes by flag."""
    flags = frame.flags
    counts = ((flag.name or "", int(np.count_nonzero(flags & np.uint32(flag)))) for flag in NodeFlag)
    return ", ".join(f"{count} {name.lower()}" for name, count in counts if count)
