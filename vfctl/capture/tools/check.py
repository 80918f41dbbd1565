"""Check a recording: framing, checksums, every message decoded, missing updates. And repair one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from vfctl.capture.losses import LossLog
from vfctl.capture.message import CapturedMessage, Direction, Form, trailer_of
from vfctl.capture.reader import Capture
from vfctl.capture.timeline import CaptureDecoder, in_recording, note_undecodable, timeline
from vfctl.capture.tools.copying import CopyReport, OnOffset, copy_to, finish, readable
from vfctl.errors import InputError, ProtocolError, UsageError, VfctlError
from vfctl.protocol import MessageType


@dataclass(slots=True)
class CheckReport:
    """Result of a check.

    Attributes:
        messages: number of messages that could be read and decoded.
        losses: what could not be read.
        undecodable: messages that are framed correctly and cannot be decoded.
        missing_rounds: number of missing updates, by connection: the server dropped them for a slow client, or the
            recorder lost them. Only connections with missing updates.
        backwards: number of messages that arrived before the message in front of them.
        graphless: connections with positions and no FullGraph.
        damage: the error for the losses; None if the recording is intact.
    """

    messages: int = 0
    losses: LossLog = field(default_factory=LossLog)
    undecodable: LossLog = field(default_factory=LossLog)
    missing_rounds: Counter[int] = field(default_factory=Counter)
    backwards: int = 0
    graphless: list[int] = field(default_factory=list)
    damage: VfctlError | None = None


def check(capture: Capture, on_offset: OnOffset | None = None) -> CheckReport:
    """Read and decode a recording to its end.

    Raises:
        InputError: the operating system cannot read on.
    """
    report = CheckReport()
    decoder, rounds = CaptureDecoder(), _Rounds(report.missing_rounds)
    latest_s = 0.0
    with_graph: set[int] = set()
    with_positions: set[int] = set()
    try:
        for timed in timeline(capture):
            captured = timed.captured
            if on_offset:
                on_offset(captured.offset)
            if timed.time_s < latest_s:
                report.backwards += 1
            latest_s = max(latest_s, timed.time_s)
            try:
                decoder.decode(captured)
            except ProtocolError as error:
                note_undecodable(report.undecodable, timed.number, captured, error)
                report.damage = report.damage or in_recording(error, timed)
                continue
            report.messages += 1
            if captured.direction is Direction.SERVER and captured.form is Form.V4:
                rounds.follow(captured)
                kind = captured.payload[1]
                if kind == MessageType.FULL_GRAPH:
                    with_graph.add(captured.connection)
                elif kind == MessageType.POSITION_UPDATE:
                    with_positions.add(captured.connection)
    except VfctlError as error:
        if error.exit_code != 5:
            raise
        report.damage = report.damage or error
    report.losses.extend(capture.losses)
    report.graphless = sorted(with_positions - with_graph)
    return report


class _Rounds:
    """Counts missing sequence numbers of each connection. A FullGraph begins a new count."""

    def __init__(self, missing: Counter[int]) -> None:
        self._missing = missing
        self._latest: dict[int, int] = {}

    def follow(self, captured: CapturedMessage) -> None:
        """Count the next message of the server."""
        kind, number = captured.payload[1], captured.connection
        if kind not in (MessageType.FULL_GRAPH, MessageType.POSITION_UPDATE):
            return
        trailer = trailer_of(captured.payload)
        if trailer is None:
            self._latest.pop(number, None)
            return
        latest = self._latest.get(number)
        if kind == MessageType.POSITION_UPDATE and latest is not None and trailer.sequence > latest + 1:
            self._missing[number] += trailer.sequence - latest - 1
        self._latest[number] = trailer.sequence


def repair(capture: Capture, target: Path, *, overwrite: bool = False, on_offset: OnOffset | None = None) -> CopyReport:
    """Copy every message that can be read and decoded into a new MCAP file.

    Raises:
        UsageError: the name of the new file does not end with `.mcap`.
        InputError: not one message could be recovered; or a file cannot be read or written.
    """
    if target.suffix.lower() != ".mcap":
        raise UsageError(f"{target}: a repaired recording is an .mcap", hint="vfctl capture convert makes a .bin of it")
    report = CopyReport()
    decoder = CaptureDecoder()
    with copy_to(target, overwrite=overwrite) as copy:
        for stamp in readable(capture, report, on_offset):
            captured = stamp.timed.captured
            try:
                decoder.decode(captured)
            except ProtocolError as error:
                note_undecodable(report.undecodable, stamp.timed.number, captured, error)
                continue
            copy.write(captured, stamp, capture.metadata)
        if not copy.messages:
            raise InputError(f"nothing could be recovered of {capture.name}{_why(report)}")
        return finish(copy, capture, report)


def _why(report: CopyReport) -> str:
    if report.damage:
        return f": {report.damage.message}"
    return f": {report.undecodable[0].reason}" if report.undecodable else ""
