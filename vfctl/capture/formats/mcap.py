"""MCAP, read front to back: every message of every intact chunk, and the losses in the rest.

This module finds the records and checks all bounds. The `mcap` library reads beyond the end of a record, accepts short
reads, decompresses without a limit and stops at the first damage. It parses the content of a record.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final, TypeVar

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, DataEnd, Footer, McapRecord, Metadata

from vfctl.capture.formats.mcap_records import (
    MAX_CHUNK_BYTES,
    MAX_PASSED_BYTES,
    RECORD,
    ChunkError,
    chunk_length,
    fills,
    implausible,
    unpack,
)
from vfctl.capture.losses import Report
from vfctl.capture.message import CapturedMessage, Direction, Form, UpdateRun, raw_update_bytes
from vfctl.capture.source import ByteSource, Window
from vfctl.errors import CaptureError, ProtocolError
from vfctl.protocol.deployed import FIRST_BYTES, form_of
from vfctl.protocol.wire import VERSION, message_length

MAGIC: Final = b"\x89MCAP0\r\n"
ENCODING: Final = "vfctl.v4"
"""`message_encoding` of our channels. Frames of deployed servers have others: `vfctl.v2`, `vfctl.v3`, …."""

ENCODINGS: Final = frozenset(f"vfctl.{form.value}" for form in Form)

METADATA_NAME: Final = "vfctl"
"""Name of the metadata record about the whole recording."""

_RUN_RECORD: Final = np.dtype(
    [("start", "V11"), ("sequence", "<u4"), ("log_time", "<u8"), ("publish_time", "<u8"), ("head", "<u8")]
)
"""A message record up to the node count. `start` is opcode, length and channel."""
_MESSAGE = struct.Struct("<HIQQ")
"""channel id, sequence, log time, publish time; the payload follows."""
_PAYLOAD_AT: Final = RECORD.size + _MESSAGE.size
_HEAD = struct.Struct("<Q")
_KEPT: Final = (Opcode.CHANNEL, Opcode.CHUNK, Opcode.MESSAGE, Opcode.METADATA, Opcode.DATA_END, Opcode.FOOTER)
"""Records that are read. Others are skipped."""
_CANDIDATE = re.compile(
    rb"(?=\x06.{5}\0{3}.{28}(?:\0{4}|\x03\0{3}lz4|\x04\0{3}zstd)"
    rb"|\x05.{5}\0{3}|\x04.{3}\0{5}|\x0f\x04\0{7}|\x02\x14\0{7})",
    re.DOTALL,
)
"""Where a chunk, a message, a channel, the end of the data or the footer may begin."""
_BEHIND_CHUNKS: Final = (Opcode.CHUNK, Opcode.MESSAGE_INDEX, Opcode.METADATA, Opcode.ATTACHMENT, Opcode.DATA_END)
_LONGEST_START: Final = 64
"""Longer than any match of _CANDIDATE."""
_UNREADABLE: Final = (McapError, struct.error, ValueError, OverflowError, MemoryError)
"""Exceptions of the library for damaged records."""

_Parsed = TypeVar("_Parsed", bound=McapRecord)


def channel_topic(name: str, direction: Direction, connection: int) -> str:
    """The topic of the channel for one type of message: `/PositionUpdate`, `/connection/3/PositionUpdate`, ….

    Args:
        name: of the type, or of a deployed form.
        connection: 0 for what clients sent, because `sequence` has their connection.
    """
    topic = f"/client/{name}" if direction is Direction.CLIENT else f"/{name}"
    return f"/connection/{connection}{topic}" if connection else topic


def read_mcap(source: ByteSource, report: Report) -> Iterator[CapturedMessage | UpdateRun]:
    """The messages of an MCAP file, in file order.

    Damage costs only what it hits: reading continues behind a chunk with a wrong checksum. If lengths of records are
    wrong, it continues at the next intact chunk.

    Raises:
        CaptureError: it has only channels of other programs.
        InputError: the operating system cannot read on.
    """
    yield from _Reader(source, report).messages()


@dataclass(frozen=True, slots=True)
class _Channel:
    direction: Direction
    connection: int | None


class _Reader:
    def __init__(self, source: ByteSource, report: Report) -> None:
        self._window = Window(source)
        self._report = report
        self._channels: dict[int, _Channel] = {}
        self._others: dict[int, str] = {}
        self._left_out = 0
        self._crc = 0

    def messages(self) -> Iterator[CapturedMessage | UpdateRun]:
        window = self._window
        window.fill(len(MAGIC))
        if bytes(window.buffer[: len(MAGIC)]) != MAGIC:
            self._note(0, f"the magic number {window.buffer[: len(MAGIC)].hex(' ')}, expected {MAGIC.hex(' ')}", 0)
        self._let_go(len(MAGIC))
        data_ended, finished = False, False
        while not finished:
            at = window.offset
            if window.fill(RECORD.size) < RECORD.size:
                self._cut_off(at)
                break
            opcode, length = RECORD.unpack_from(window.buffer, window.start)
            if opcode == Opcode.CHUNK:
                length = self._length_of_chunk(length)
            wrong = implausible(opcode, length)
            if wrong:
                if not self._resynchronise(wrong):
                    break
                continue
            whole = RECORD.size + length
            if opcode not in _KEPT and length > MAX_PASSED_BYTES:
                self._let_go(RECORD.size)
                if self._pass_over(length) < length:
                    self._cut_off(at)
                    break
                continue
            if window.fill(whole) < whole:
                if opcode == Opcode.CHUNK and self._framed(opcode, whole):
                    yield from self._salvage(bytes(window.buffer[window.start + RECORD.size :]), at)
                elif self._find_next()[0] is not None:  # a length that lies ends behind the file, too
                    self._resynchronise(f"a record of {length} bytes, which the file does not have")
                    continue
                self._cut_off(at)
                break
            if not self._framed(opcode, whole):
                if not self._resynchronise(f"a record of {length} bytes, within which another begins"):
                    break
                continue
            body = bytes(window.buffer[window.start + RECORD.size : window.start + whole])
            crc_before = self._crc
            crc_head = zlib.crc32(window.buffer[window.start : window.start + RECORD.size], crc_before)
            self._let_go(whole)
            match opcode:
                case Opcode.CHUNK:
                    yield from self._chunk(body, at)
                case Opcode.MESSAGE:
                    yield from self._message(memoryview(body), at)
                case Opcode.CHANNEL if not data_ended:
                    self._channel(body, at)
                case Opcode.METADATA:
                    record = self._parse(Metadata, body, at)
                    if record and record.name == METADATA_NAME:
                        self._report.metadata.update(record.metadata)
                case Opcode.DATA_END:
                    end = self._parse(DataEnd, body, at)
                    if end and end.data_section_crc not in (0, crc_before):
                        self._note(at, "the checksum of the data section is wrong", 0)
                    data_ended = True
                    self._crc = 0
                case Opcode.FOOTER:
                    self._footer(body, at, crc_head, data_ended)
                    finished = True
        self._note_other_channels()

    def _length_of_chunk(self, said: int) -> int:
        """Length of the chunk here. Its inner lengths are preferred, if a record follows where they say."""
        window = self._window
        window.fill(_LONGEST_START)
        whole = chunk_length(window.buffer, window.start)
        if whole is None or whole == RECORD.size + said or whole > MAX_CHUNK_BYTES:
            return said
        if window.fill(whole + RECORD.size) < whole + RECORD.size:
            return said
        following, length = RECORD.unpack_from(window.buffer, window.start + whole)
        if following not in _BEHIND_CHUNKS or implausible(following, length):
            return said
        self._note(window.offset, f"a chunk of {whole - RECORD.size} bytes that says it has {said}", 0)
        return whole - RECORD.size

    def _framed(self, opcode: int, whole: int) -> bool:
        """Whether a record ends where its length says: its inner lengths agree, or no other record begins in it."""
        window = self._window
        if opcode == Opcode.CHUNK:
            return chunk_length(window.buffer, window.start) == whole
        if opcode == Opcode.FOOTER:
            return whole == RECORD.size + 20
        if opcode == Opcode.MESSAGE:
            start = window.start + RECORD.size
            if int.from_bytes(window.buffer[start : start + 2], "little") in self._others:
                return True
            if _is_message(window.buffer[start + _MESSAGE.size : window.start + whole]):
                return True
        elif fills(opcode, window.buffer[window.start + RECORD.size : window.start + whole]):
            return True  # numbers in an index may look like the start of a record
        window.fill(whole + _LONGEST_START)
        found = self._find_next()[0]
        return found is None or found >= window.start + whole

    def _resynchronise(self, reason: str) -> bool:
        """Skip to the next certain record and record the loss; False if there is none."""
        window = self._window
        at = window.offset
        while True:
            found, undecided, needed = self._find_next()
            if found is not None or window.ended:
                break
            keep = undecided if undecided is not None else max(window.start + 1, len(window.buffer) - _LONGEST_START)
            self._let_go(min(keep - window.start, window.available))
            window.fill(max(needed, window.available + 1))
        self._let_go(window.available if found is None else found - window.start)
        self._report.losses.note(at, reason, window.offset - at)
        return found is not None

    def _find_next(self) -> tuple[int | None, int | None, int]:
        """Index of the next certain record in the buffer.

        If there is none: index of the first possible one, and the number of bytes that are needed to know.
        """
        window = self._window
        undecided, needed = None, 0
        for match in _CANDIDATE.finditer(window.buffer, window.start + 1):
            missing = self._missing(match.start())
            if missing == 0:
                return match.start(), None, 0
            if missing is not None and undecided is None:
                undecided, needed = match.start(), len(window.buffer) - match.start() + missing
        return None, undecided, needed

    def _missing(self, index: int) -> int | None:
        """Number of further bytes needed to know whether a record is at `index`; 0: one is, None: none is."""
        buffer = self._window.buffer
        length: int
        opcode, length = RECORD.unpack_from(buffer, index)
        if implausible(opcode, length):
            return None
        start = index + RECORD.size
        end = start + length
        if opcode == Opcode.CHUNK:
            return 0 if chunk_length(buffer, index) == end - index else None
        if opcode == Opcode.MESSAGE:
            payload = buffer[start + _MESSAGE.size : end]
            if end > len(buffer):
                return end - len(buffer) if _may_be_message(payload, length - _MESSAGE.size) else None
            return 0 if _is_message(payload) else None
        if end + RECORD.size > len(buffer):
            return end + RECORD.size - len(buffer)
        if opcode == Opcode.FOOTER:
            return 0 if bytes(buffer[end : end + len(MAGIC)]) == MAGIC else None
        return 0 if implausible(*RECORD.unpack_from(buffer, end)) is None else None

    def _let_go(self, length: int) -> None:
        window = self._window
        self._crc = zlib.crc32(window.buffer[window.start : window.start + length], self._crc)
        window.let_go(length)

    def _pass_over(self, length: int) -> int:
        passed = 0
        while passed < length and (step := min(length - passed, self._window.fill(1))):
            self._let_go(step)
            passed += step
        return passed

    def _footer(self, body: bytes, at: int, crc_head: int, data_ended: bool) -> None:
        footer = self._parse(Footer, body, at)
        if footer and footer.summary_crc not in (0, zlib.crc32(body[:16], crc_head)):
            self._note(at, "the checksum of the summary is wrong", 0)
        if not data_ended:
            self._note(at, "a footer, expected the end of the data section first", 0)
        window = self._window
        window.fill(len(MAGIC) + 1)
        if bytes(window.buffer[window.start : window.start + len(MAGIC) + 1]) != MAGIC:
            self._note(window.offset, "no MCAP magic behind the footer, expected it to end the file", 0)

    def _channel(self, body: bytes, at: int) -> None:
        channel = self._parse(Channel, body, at)
        if channel is None:
            return
        if channel.message_encoding not in ENCODINGS:
            self._others[channel.id] = f"{channel.topic!r} ({channel.message_encoding!r})"
            return
        said = channel.metadata.get("direction")
        direction = Direction.CLIENT if said == Direction.CLIENT.value else Direction.SERVER
        number = channel.metadata.get("connection", "")
        self._channels[channel.id] = _Channel(direction, int(number) if number.isdecimal() else None)

    def _chunk(self, body: bytes, at: int) -> Iterator[CapturedMessage | UpdateRun]:
        chunk = self._parse(Chunk, body, at)
        if chunk is None:
            return
        whole = RECORD.size + len(body)
        try:
            content = unpack(chunk)
        except ChunkError as error:
            self._note(at, str(error), whole)
            return
        if len(content) != chunk.uncompressed_size:
            self._note(at, f"a chunk of {len(content)} bytes, expected {chunk.uncompressed_size}", whole)
        elif chunk.uncompressed_crc not in (0, zlib.crc32(content)):
            self._note(at, "the checksum of a chunk is wrong", whole)
        else:
            rest = yield from self._records(content, at)
            if rest:
                self._note(at, f"{rest} bytes at the end of a chunk that are no record", rest)

    def _salvage(self, body: bytes, at: int) -> Iterator[CapturedMessage | UpdateRun]:
        """Complete messages of a chunk that is cut off. LZ4 and zstd unpack every complete block."""
        try:
            chunk = Chunk.read(ReadDataStream(BytesIO(body)))
            content = unpack(chunk)
        except (ChunkError, *_UNREADABLE):
            return
        yield from self._records(content, at)

    def _records(self, content: bytes, at: int) -> Generator[CapturedMessage | UpdateRun, None, int]:
        """The messages in the content of a chunk; returns the number of remaining bytes at its end."""
        position, view = 0, memoryview(content)
        while len(view) - position >= RECORD.size:
            opcode, length = RECORD.unpack_from(view, position)
            start = position + RECORD.size
            if length > len(view) - start:
                break
            if opcode == Opcode.MESSAGE:
                run = self._run(view, position, RECORD.size + length, at)
                if run is not None:
                    yield run
                    position += len(run) * (RECORD.size + length)
                    continue
                yield from self._message(view[start : start + length], at)
            elif opcode == Opcode.CHANNEL:
                self._channel(bytes(view[start : start + length]), at)
            position = start + length
        return len(view) - position

    def _run(self, view: memoryview, position: int, stride: int, at: int) -> UpdateRun | None:
        """The raw updates of one channel that begin here, if there are several of one length in a row."""
        after = position + stride
        ahead = _RUN_RECORD.itemsize
        if after + ahead > len(view) or view[position : position + 11] != view[after : after + 11]:
            return None
        (head,) = _HEAD.unpack_from(view, position + ahead - _HEAD.size)
        channel = self._channels.get(int.from_bytes(view[position + 9 : position + 11], "little"))
        if raw_update_bytes(head) != stride - _PAYLOAD_AT or channel is None or channel.direction is Direction.CLIENT:
            return None
        records = np.ndarray(((len(view) - position) // stride,), _RUN_RECORD, view, position, (stride,))
        others = np.flatnonzero((records["head"] != head) | (records["start"] != records["start"][0]))
        records = records[: others[0] if len(others) else len(records)]
        arrivals_ns = records["log_time"].astype(np.int64)
        if len(records) == 1 or arrivals_ns.min() < 0:
            return None
        shape, strides = (len(records), stride - _PAYLOAD_AT), (stride, 1)
        payloads = np.ndarray(shape, np.uint8, view, position + _PAYLOAD_AT, strides)
        return UpdateRun(payloads, np.full(len(records), at), arrivals_ns, channel.connection or 0)

    def _message(self, record: memoryview, at: int) -> Iterator[CapturedMessage]:
        if len(record) < _MESSAGE.size:
            self._note(at, f"a message record of {len(record)} bytes, expected {_MESSAGE.size} or more", len(record))
            return
        channel_id, sequence, log_time, _ = _MESSAGE.unpack_from(record)
        channel = self._channels.get(channel_id)
        if channel is None:
            if channel_id in self._others:
                self._left_out += 1
                return
            if not self._report.losses:
                # Behind damage, the channel may have been lost with its chunk. A V4 message is recognised without it.
                self._note(at, f"a message of channel {channel_id}, which the file does not have", len(record))
                return
            channel = _LOST_CHANNEL
        payload = bytes(record[_MESSAGE.size :])
        try:
            form = form_of(payload)
        except ProtocolError as error:
            self._note(at, f"a message that is not VisionFlow's: {error.reason}", len(payload))
            return
        connection = channel.connection
        if connection is None:
            connection = sequence if channel.direction is Direction.CLIENT else 0
        yield CapturedMessage(payload, log_time, at, channel.direction, connection, form)

    def _parse(self, kind: type[_Parsed], body: bytes, at: int) -> _Parsed | None:
        try:
            return kind.read(ReadDataStream(BytesIO(body)))  # type: ignore[no-any-return, attr-defined]
        except _UNREADABLE:
            self._note(at, f"a {kind.__name__} record that cannot be read", RECORD.size + len(body))
            return None

    def _note(self, at: int, what: str, lost_bytes: int) -> None:
        self._report.losses.note(at, what, lost_bytes)

    def _cut_off(self, at: int) -> None:
        window = self._window
        end = window.offset + window.available
        self._report.losses.note(at, f"the file ends at byte {end}, expected more", end - at, cut_off=True)

    def _note_other_channels(self) -> None:
        if not self._others:
            return
        channels = ", ".join(sorted(set(self._others.values()))[:5]) + (", …" if len(self._others) > 5 else "")
        if not self._channels:
            raise CaptureError(
                f"{self._window.source.name} has the channels {channels}, expected one encoded as {ENCODING!r}",
                hint="this MCAP file is not a recording of a VisionFlow stream",
            )
        self._report.notes.append(f"{self._left_out} messages of other channels were left out: {channels}")


_LOST_CHANNEL: Final = _Channel(Direction.SERVER, 0)


def _may_be_message(start: memoryview, length: int) -> bool:
    """Whether a payload of `length` bytes may begin with these bytes."""
    if length <= 0:
        return False
    try:
        return not start or start[0] in FIRST_BYTES or (start[0] == VERSION and message_length(start) in (None, length))
    except ProtocolError:
        return False


def _is_message(payload: memoryview) -> bool:
    try:
        form_of(payload)
    except ProtocolError:
        return False
    return True
