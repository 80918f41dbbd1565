"""New recordings made of old ones: what `repair`, `cut`, `merge` and `convert` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vfctl.capture.captured import CapturedMessage, Direction
from vfctl.capture.formats.mcap import METADATA_NAME
from vfctl.capture.losses import LossLog
from vfctl.capture.reader import Capture
from vfctl.capture.recording.writer import CaptureWriter, check_target, open_writer
from vfctl.capture.tools.stamped import StampedMessage, stamped
from vfctl.errors import CaptureError, InputError, VfctlError
from vfctl.files import replacing

OnOffset = Callable[[int], None]
"""Told how far reading has come in the file."""

_FROM_THE_FILE_ITSELF = frozenset(("vfctl_version", "file_number"))
"""Metadata that a copy does not take over."""


@dataclass(slots=True)
class CopyReport:
    """What became of a recording that was copied.

    Attributes:
        messages: how many stand in the new one.
        left_out: how many were readable and are not in it, because it has no room for them or they are of
            connections that were not wanted.
        undecodable: each that is framed well and cannot be decoded.
        losses: what could not be read.
        made_up_times: whether arrival times are not the recording's, but 50 ms a frame from 1970 on.
        damage: the error that ends the command; None if nothing was wrong.
    """

    messages: int = 0
    left_out: int = 0
    undecodable: LossLog = field(default_factory=LossLog)
    losses: LossLog = field(default_factory=LossLog)
    made_up_times: bool = False
    damage: VfctlError | None = None

    @property
    def lost_nothing(self) -> bool:
        """Whether every message came over: an end that is missing behind the last one costs none."""
        return not self.undecodable and not any(loss.bytes for loss in self.losses)


def readable(
    messages: Iterable[CapturedMessage], report: CopyReport, on_offset: OnOffset | None
) -> Iterator[StampedMessage]:
    """Every message that can be read; damage is taken down in place of being raised.

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
    """A recording that is being made of others; the file is created with its first message."""

    def __init__(self, draft: Path) -> None:
        self.messages = 0
        self.made_up_times = False
        self._draft = draft
        self._writer: CaptureWriter | None = None
        self._noted: Mapping[str, str] = {}

    def write(self, captured: CapturedMessage, stamp: StampedMessage, metadata: Mapping[str, str]) -> None:
        """Add a message.

        Args:
            stamp: gives its arrival.
            metadata: what is known of the recording so far.

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
        """Finish the file, noting what has become known since its beginning."""
        if self._writer is None:
            return
        news = {key: value for key, value in _kept(metadata).items() if self._noted.get(key) != value}
        if news:
            self._writer.note(METADATA_NAME, news)
        self._writer.close()


@contextmanager
def copy_to(target: Path, *, overwrite: bool) -> Iterator[Copy]:
    """A new recording, `.mcap` or `.bin`, that is there whole at the end of the block or not at all.

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
    """Whether a format has room for messages of the server only."""
    return target.suffix.lower() == ".bin"


def has_room(target: Path, captured: CapturedMessage) -> bool:
    """Whether a message will stand in the new recording."""
    return not (is_bare(target) and captured.direction is Direction.CLIENT)


def finish(copy: Copy, capture: Capture, report: CopyReport) -> CopyReport:
    """Close the copy of a recording that has been read to its end, and sum up."""
    copy.close(capture.metadata)
    report.messages = copy.messages
    report.made_up_times = copy.made_up_times
    report.losses.extend(capture.losses)
    return report


def _kept(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in _FROM_THE_FILE_ITSELF}
