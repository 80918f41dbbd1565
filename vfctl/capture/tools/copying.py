"""When each message arrived, in unix time, also where the recording does not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from vfctl.capture.formats.mcap import METADATA_NAME
from vfctl.capture.losses import LossLog
from vfctl.capture.message import CapturedMessage, Direction, Form, trailer_of
from vfctl.capture.reader import Capture
from vfctl.capture.recording.writer import CaptureWriter, check_target, open_writer
from vfctl.capture.timeline import TimedMessage, timeline
from vfctl.errors import CaptureError, InputError, VfctlError
from vfctl.files import replacing

MAX_ARRIVAL_NS: Final = 2**64 - 1

_LOOK_AHEAD_MESSAGES: Final = 1000
_LOOK_AHEAD_BYTES: Final = 2**25


@dataclass(frozen=True, slots=True)
class StampedMessage:
    """A recorded message with its unix time.

    Attributes:
        timed: the message and its time in the recording.
        arrival_ns: unix time of its arrival in ns, 0 to MAX_ARRIVAL_NS.
        told: whether the recording or a trailer has that time. If not, it counts from 1970.
    """

    timed: TimedMessage
    arrival_ns: int
    told: bool


def stamped(messages: Iterable[CapturedMessage]) -> Iterator[StampedMessage]:
    """Give every message its arrival.

    If the recording has none, the first trailer among the first thousand messages gives the unix time.

    Raises:
        VfctlError: as for iterating `messages`.
    """
    source = timeline(messages)
    ahead: list[TimedMessage] = []
    ahead_bytes = 0
    epoch_ns: int | None = None
    damage: VfctlError | None = None
    try:
        for timed in source:
            ahead.append(timed)
            ahead_bytes += len(timed.captured.payload)
            epoch_ns = _epoch_ns(timed)
            too_far = len(ahead) >= _LOOK_AHEAD_MESSAGES or ahead_bytes >= _LOOK_AHEAD_BYTES
            if timed.captured.arrival_ns is not None or epoch_ns is not None or too_far:
                break
    except VfctlError as error:  # the messages before it are yielded first
        damage = error
    for timed in chain(ahead, source):
        arrival_ns = timed.captured.arrival_ns
        if arrival_ns is None:
            arrival_ns = (epoch_ns or 0) + round(timed.time_s * 1e9)
        told = timed.captured.arrival_ns is not None or epoch_ns is not None
        yield StampedMessage(timed, min(max(arrival_ns, 0), MAX_ARRIVAL_NS), told)
    if damage:
        raise damage


def _epoch_ns(timed: TimedMessage) -> int | None:
    captured = timed.captured
    trailer = trailer_of(captured.payload) if captured.form is Form.V4 else None
    return trailer.timestamp_us * 1000 - round(timed.time_s * 1e9) if trailer else None


OnOffset = Callable[[int], None]
"""Called with the byte offset that reading has reached."""

_FROM_THE_FILE_ITSELF = frozenset(("vfctl_version", "file_number"))
"""Metadata that is not copied."""


@dataclass(slots=True)
class CopyReport:
    """Result of copying a recording.

    Attributes:
        messages: number of messages in the copy.
        left_out: number of readable messages that are not in it, because the format has no room for them or their
            connection was not selected.
        undecodable: messages that are framed correctly and cannot be decoded.
        losses: what could not be read.
        made_up_times: whether arrival times are not from the recording, but 50 ms per update from 1970 on.
        damage: the error that ends the command; None without damage.
    """

    messages: int = 0
    left_out: int = 0
    undecodable: LossLog = field(default_factory=LossLog)
    losses: LossLog = field(default_factory=LossLog)
    made_up_times: bool = False
    damage: VfctlError | None = None

    @property
    def lost_nothing(self) -> bool:
        """Whether every message was copied. A missing end of the file costs none."""
        return not self.undecodable and not any(loss.bytes for loss in self.losses)


def readable(
    messages: Iterable[CapturedMessage], report: CopyReport, on_offset: OnOffset | None
) -> Iterator[StampedMessage]:
    """Every message that can be read. Damage is added to the report, not raised.

    Raises:
        InputError: the operating system cannot read on.
    """
    try:
        for stamp in stamped(messages):
            if on_offset:
                on_offset(stamp.timed.captured.offset)
            yield stamp
    except VfctlError as error:
        if error.exit_code != CaptureError.exit_code:
            raise
        report.damage = report.damage or error


class Copy:
    """A recording that is made of others. Its file is created with the first message."""

    def __init__(self, draft: Path) -> None:
        self.messages = 0
        self.made_up_times = False
        self._draft = draft
        self._writer: CaptureWriter | None = None
        self._noted: Mapping[str, str] = {}

    def write(self, captured: CapturedMessage, stamp: StampedMessage, metadata: Mapping[str, str]) -> None:
        """Add a message.

        Args:
            stamp: has its arrival.
            metadata: of the recording, so far as it is known.

        Raises:
            InputError: it cannot be written, or the format has no room for it.
        """
        if self._writer is None:
            self._noted = _kept(metadata)
            # The draft is ours: a device that is written to directly exists already.
            self._writer = open_writer(self._draft, metadata=self._noted, overwrite=True)
        payload, _, _, direction, connection, form = captured
        self._writer.write(payload, stamp.arrival_ns, direction=direction, connection=connection, form=form)
        self.messages += 1
        self.made_up_times = self.made_up_times or not stamp.told

    def close(self, metadata: Mapping[str, str]) -> None:
        """Finish the file, with the metadata that became known since its start."""
        if self._writer is None:
            return
        news = {key: value for key, value in _kept(metadata).items() if self._noted.get(key) != value}
        if news:
            self._writer.note(METADATA_NAME, news)
        self._writer.close()


@contextmanager
def copy_to(target: Path, *, overwrite: bool) -> Iterator[Copy]:
    """A new recording, `.mcap` or `.bin`, that appears complete at the end of the block or not at all.

    Raises:
        UsageError: another suffix.
        InputError: the file exists, or cannot be written; or nothing was written to it.
    """
    check_target(target, overwrite=overwrite)
    with replacing(target, overwrite=overwrite) as draft:
        copy = Copy(draft)
        try:
            yield copy
        finally:
            copy.close({})
        if not copy.messages:
            raise InputError(f"nothing to write to {target}: no message was left")


def is_bare(target: Path) -> bool:
    """Whether a format holds messages of the server only."""
    return target.suffix.lower() == ".bin"


def has_room(target: Path, captured: CapturedMessage) -> bool:
    """Whether the new recording can hold a message."""
    return not (is_bare(target) and captured.direction is Direction.CLIENT)


def finish(copy: Copy, capture: Capture, report: CopyReport) -> CopyReport:
    """Close the copy of a recording that has been read to its end, and complete the report."""
    copy.close(capture.metadata)
    report.messages = copy.messages
    report.made_up_times = copy.made_up_times
    report.losses.extend(capture.losses)
    return report


def _kept(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in _FROM_THE_FILE_ITSELF}
