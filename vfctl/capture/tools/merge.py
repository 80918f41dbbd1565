"""Several recordings as one, in the order in which their messages arrived."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from vfctl.capture.message import Direction, Form
from vfctl.capture.reader import open_capture
from vfctl.capture.recording.file_header import HeaderState
from vfctl.capture.tools.copying import CopyReport, OnOffset, StampedMessage, copy_to, has_room, readable
from vfctl.errors import InputError, UsageError, VfctlError

_NUMBERED = re.compile(r"(.*)-\d{4,}")
_Arrival = tuple[int, int, StampedMessage]
"""Arrival (never before that of the previous message), index of the recording, and the message."""


def merge(
    paths: Sequence[str],
    target: Path,
    *,
    overwrite: bool = False,
    on_offset: OnOffset | None = None,
) -> CopyReport:
    """Copy all messages of several recordings into a new file, in order of arrival.

    The files of a rotated series are one recording: the messages that each repeats at its start are left out. Other
    files keep their connections apart: those of the second are numbered behind those of the first, and so on.

    Args:
        paths: files in any order.
        on_offset: called with the byte offset, as if the files were concatenated.

    Raises:
        UsageError: fewer than two files; another suffix than `.mcap` and `.bin`.
        InputError: a file cannot be read or written, or has no arrival times.
    """
    if len(paths) < 2:
        raise UsageError("merging needs at least two recordings")
    report = CopyReport()
    metadata: dict[str, str] = {}
    recordings = [_Recording(files, report, metadata, on_offset) for files in _series(paths)]
    numbers: dict[tuple[int, int], int] = {}
    fresh = count()
    alone = len(recordings) == 1
    streams = [_arrivals(number, recording, alone) for number, recording in enumerate(recordings)]
    with copy_to(target, overwrite=overwrite) as copy:
        for _, number, stamp in heapq.merge(*streams, key=lambda arrival: arrival[:2]):
            captured = stamp.timed.captured
            key = (number, captured.connection)
            if key not in numbers:
                numbers[key] = captured.connection if alone else next(fresh)
            if not has_room(target, captured):
                report.left_out += 1
                continue
            copy.write(captured._replace(connection=numbers[key]), stamp, metadata)
        copy.close(metadata)
        report.messages = copy.messages
        report.made_up_times = copy.made_up_times
        return report


def _series(paths: Sequence[str]) -> list[list[str]]:
    """Group the files of each rotated series, by number. Every other file is a group."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        match = _NUMBERED.fullmatch(Path(path).stem)
        in_series = match is not None and _is_of_a_series(path)
        key = (str(Path(path).parent), match[1], Path(path).suffix) if match and in_series else (path,)
        if path in groups.setdefault(key, []):
            raise UsageError(f"{path} is given twice")
        groups[key].append(path)
    return [sorted(files, key=lambda path: (len(path), path)) for files in groups.values()]


def _is_of_a_series(path: str) -> bool:
    """Whether the metadata says so. Plain messages have none, so their name decides."""
    with open_capture(path) as capture:
        if capture.format != "mcap":
            return capture.format == "v4"
        with suppress(VfctlError):
            next(iter(capture), None)  # the metadata is in front of the first message
        return "file_number" in capture.metadata


def _arrivals(number: int, recording: _Recording, alone: bool) -> Iterator[_Arrival]:
    """In order. A message that is older than the one before it gets the arrival of that one."""
    latest_ns = 0
    for stamp in recording.messages():
        if not stamp.told and not alone:
            raise InputError(
                f"{recording.name} has no arrival times, so it cannot be merged by time",
                hint="record as .mcap, or plain messages with timed=1",
            )
        latest_ns = max(latest_ns, stamp.arrival_ns)
        yield latest_ns, number, replace(stamp, arrival_ns=latest_ns)


class _Recording:
    """The files of one recording, one after another."""

    def __init__(
        self,
        files: Sequence[str],
        report: CopyReport,
        metadata: dict[str, str],
        on_offset: OnOffset | None,
    ) -> None:
        self.name = files[0]
        self._files = files
        self._report = report
        self._metadata = metadata
        self._on_offset = on_offset
        self._passed_bytes = 0
        self._header = HeaderState()

    def messages(self) -> Iterator[StampedMessage]:
        """All messages, without those that a file repeats from the one before it.

        Raises:
            InputError: a file cannot be read.
        """
        for path in self._files:
            repeated = self._header.payloads() or []
            with open_capture(path) as capture:
                for stamp in readable(capture, self._report, self._tell):
                    captured = stamp.timed.captured
                    if repeated and captured.payload == repeated[0]:
                        del repeated[0]
                        continue
                    repeated.clear()
                    if captured.direction is Direction.SERVER and captured.form is Form.V4:
                        self._header.take(captured.payload)
                    yield stamp
                self._report.losses.extend(capture.losses)
                for key, value in capture.metadata.items():
                    self._metadata.setdefault(key, value)
            self._passed_bytes += _length(path)

    def _tell(self, offset: int) -> None:
        if self._on_offset:
            self._on_offset(self._passed_bytes + offset)


def _length(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
