"""Cut a part out of a recording. The part decodes and replays alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vfctl.capture.message import CapturedMessage, Direction, Form, flags_of, trailer_of
from vfctl.capture.reader import Capture
from vfctl.capture.recording.file_header import HeaderState
from vfctl.capture.tools.copying import Copy, CopyReport, OnOffset, StampedMessage, copy_to, finish, has_room, readable
from vfctl.protocol import Flag, MessageType
from vfctl.protocol.wire import TRAILER

BEYOND_S: Final = 1.0
"""Reading continues for so long behind the end, because arrival times may be slightly out of order."""


def cut(
    capture: Capture,
    target: Path,
    from_s: float = 0.0,
    to_s: float | None = None,
    *,
    overwrite: bool = False,
    on_offset: OnOffset | None = None,
) -> CopyReport:
    """Copy the messages from `from_s` (inclusive) to `to_s` (exclusive), in seconds of the recording.

    The copy begins with a snapshot of each connection at `from_s`: the newest FullGraph and positions (a key frame of a
    COMPACT chain), as if they had just arrived.

    Raises:
        UsageError: another suffix than `.mcap` and `.bin`.
        InputError: nothing was recorded in that time; or a file cannot be read or written.
    """
    report = CopyReport()
    openings: dict[int, HeaderState] = {}
    begun = False
    with copy_to(target, overwrite=overwrite) as copy:
        for stamp in readable(capture, report, on_offset):
            captured, time_s = stamp.timed.captured, stamp.timed.time_s
            if to_s is not None and time_s >= to_s + BEYOND_S:
                break
            wanted = time_s >= from_s and (to_s is None or time_s < to_s)
            if wanted and not begun:
                begun = True
                _begin(copy, openings, stamp, capture)
                openings.clear()
            elif not begun and captured.direction is Direction.SERVER and captured.form is Form.V4:
                openings.setdefault(captured.connection, HeaderState()).take(captured.payload)
            if wanted and has_room(target, captured):
                copy.write(captured, stamp, capture.metadata)
            elif wanted:
                report.left_out += 1
        return finish(copy, capture, report)


def _begin(copy: Copy, openings: dict[int, HeaderState], stamp: StampedMessage, capture: Capture) -> None:
    """Write the snapshot."""
    first = stamp.timed.captured
    brings_graph = first.form is Form.V4 and first.payload[1] == MessageType.FULL_GRAPH
    for number, opening in sorted(openings.items()):
        if number == first.connection and brings_graph:
            continue
        for payload in _as_of_now(opening.payloads() or []):
            captured = CapturedMessage(payload, stamp.arrival_ns, first.offset, connection=number)
            copy.write(captured, stamp, capture.metadata)


def _as_of_now(payloads: list[bytes]) -> list[bytes]:
    """The snapshot, in which the graph has the trailer of the positions: the time of the copy begins with them."""
    if len(payloads) < 2:
        return payloads
    graph, update = payloads
    trailer = trailer_of(update)
    if trailer is None or Flag.TIMED not in flags_of(graph):
        return payloads
    fresh = TRAILER.pack(trailer.sequence, trailer.timestamp_us, trailer.interval_us)
    return [graph[: -TRAILER.size] + fresh, update]
