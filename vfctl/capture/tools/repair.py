"""Everything that is intact in a damaged recording, as a new one."""

from __future__ import annotations

from pathlib import Path

from vfctl.capture.reader import Capture
from vfctl.capture.timeline import CaptureDecoder, note_undecodable
from vfctl.capture.tools.copying import CopyReport, OnOffset, copy_to, finish, readable
from vfctl.errors import InputError, ProtocolError, UsageError


def repair(capture: Capture, target: Path, *, overwrite: bool = False, on_offset: OnOffset | None = None) -> CopyReport:
    """Copy each message that can be read and decoded into a new MCAP file.

    Raises:
        UsageError: the new file is not called `.mcap`.
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
