"""MCAP, read front to back: every message of every intact chunk, then what is wrong with the file, if anything is.

The record framing and all bounds are ours (the `mcap` library reads on past the end of a record, takes short reads for
whole ones and decompresses without a limit); what stands inside a record is parsed by the library.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterator
from io import BytesIO
from typing import Final, TypeVar

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, DataEnd, Footer, McapRecord, Metadata

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.source import PIECE_BYTES, ByteSource
from vfctl.errors import CaptureError, ProtocolError
from vfctl.protocol import message_length
from vfctl.protocol.wire import MAX_MESSAGE_BYTES

MAGIC: Final = b"\x89MCAP0\r\n"
ENCODING: Final = "vfctl.v4"
"""`message_encoding` of our channels."""

METADATA_NAME: Final = "vfctl"
"""Name of the metadata record that says where a recording comes from."""

MAX_CHUNK_BYTES: Final = MAX_MESSAGE_BYTES + 4 * 2**20
"""Most that a chunk may hold: room for the largest message behind what a writer had already gathered."""

_RECORD = struct.Struct("<BQ")
"""opcode, length of what follows."""
_MESSAGE = struct.Struct("<HIQQ")
"""channel id, sequence, log time, publish time; the payload follows."""
_READ: Final = (Opcode.CHANNEL, Opcode.CHUNK, Opcode.MESSAGE, Opcode.METADATA, Opcode.DATA_END, Opcode.FOOTER)
_UNREADABLE: Final = (McapError, struct.error, ValueError, OverflowError, MemoryError)
"""What the library raises on bytes that are no record."""

_Parsed = TypeVar("_Parsed", bound=McapRecord)


class McapMessages:
    """The messages of an MCAP file, in file order.

    Damage that leaves the framing intact (a chunk with a wrong checksum, …) costs only what it hit: reading goes on,
    and the first damage is raised at the end.

    Attributes:
        metadata: filled while reading, from the file's metadata records.
    """

    def __init__(self, source: ByteSource, metadata: dict[str, str]) -> None:
        self.metadata = metadata
        self._source = source
        self._channels: set[int] = set()
        self._damage: CaptureError | None = None

    def __iter__(self) -> Iterator[CapturedMessage]:
        """Read on to the end of the file.

        Raises:
            CaptureError: the file is damaged, cut off, or a recording of something else.
            InputError: the operating system cannot read on.
        """
        source = self._source
        source.skip(len(MAGIC))
        data_ended = False
        while True:
            at, crc_before = source.offset, source.crc
            head = source.read(_RECORD.size)
            if len(head) < _RECORD.size:
                raise self._worst(self._cut_off(at))
            opcode, length = _RECORD.unpack(head)
            if opcode not in _READ:
                self._pass_over(opcode, length, at)
                continue
            if length > MAX_CHUNK_BYTES:
                raise self._worst(self._damaged(at, f"a record of {length} bytes, expected at most {MAX_CHUNK_BYTES}"))
            crc_head = source.crc
            body = source.read(length)
            if len(body) < length:
                if opcode == Opcode.CHUNK:
                    yield from self._salvage(body, at)
                raise self._worst(self._cut_off(at))
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
                        self.metadata.update(record.metadata)
                case Opcode.DATA_END:
                    end = self._parse(DataEnd, body, at)
                    if end and end.data_section_crc not in (0, crc_before):
                        self._note(self._damaged(at, "the checksum of the data section is wrong"))
                    data_ended = True
                    source.crc = 0
                case Opcode.FOOTER:
                    self._footer(body, at, crc_head, data_ended)
                    return

    def _pass_over(self, opcode: int, length: int, at: int) -> None:
        # Opcode 0 is never used: a file system that lost the end of a file likes to leave zeros there.
        if opcode == 0:
            raise self._worst(self._damaged(at, "record type 0x00, expected an MCAP record"))
        if self._source.skip(length) < length:
            raise self._worst(self._cut_off(at))

    def _footer(self, body: bytes, at: int, crc_head: int, data_ended: bool) -> None:
        footer = self._parse(Footer, body, at)
        if footer and footer.summary_crc not in (0, zlib.crc32(body[:16], crc_head)):
            self._note(self._damaged(at, "the checksum of the summary is wrong"))
        if not data_ended:
            self._note(self._damaged(at, "a footer, expected the end of the data section first"))
        end = self._source.offset
        tail = self._source.read(len(MAGIC) + 1)
        if tail != MAGIC:
            self._note(self._damaged(end, "no MCAP magic behind the footer, expected it to end the file"))
        if self._damage:
            raise self._damage

    def _channel(self, body: bytes, at: int) -> None:
        channel = self._parse(Channel, body, at)
        if channel is None:
            return
        if channel.message_encoding != ENCODING:
            raise self._worst(
                CaptureError(
                    f"{self._source.name}: byte {at}: channel {channel.topic!r} is encoded as "
                    f"{channel.message_encoding!r}, expected {ENCODING!r}",
                    hint="this MCAP file is not a recording of a VisionFlow stream",
                )
            )
        self._channels.add(channel.id)

    def _chunk(self, body: bytes, at: int) -> Iterator[CapturedMessage]:
        chunk = self._parse(Chunk, body, at)
        if chunk is None:
            return
        try:
            content = _decompress(chunk)
        except _Damaged as error:
            self._note(self._damaged(at, str(error)))
            return
        if len(content) != chunk.uncompressed_size:
            self._note(self._damaged(at, f"a chunk of {len(content)} bytes, expected {chunk.uncompressed_size}"))
        elif chunk.uncompressed_crc not in (0, zlib.crc32(content)):
            self._note(self._damaged(at, "the checksum of a chunk is wrong"))
        else:
            rest = yield from self._records(content, at)
            if rest:
                self._note(self._damaged(at, f"{rest} bytes at the end of a chunk that are no record"))

    def _salvage(self, body: bytes, at: int) -> Iterator[CapturedMessage]:
        """Whole messages from a chunk that was cut off: LZ4 and zstd give back every block that is complete."""
        try:
            chunk = Chunk.read(ReadDataStream(BytesIO(body)))
            content = _decompress(chunk)
        except (_Damaged, *_UNREADABLE):
            return
        yield from self._records(content, at)

    def _records(self, content: bytes, at: int) -> Generator[CapturedMessage, None, int]:
        """The messages in a chunk's content; returns how many bytes are left over at its end."""
        position, view = 0, memoryview(content)
        while len(view) - position >= _RECORD.size:
            opcode, length = _RECORD.unpack_from(view, position)
            start = position + _RECORD.size
            if length > len(view) - start:
                break
            if opcode == Opcode.CHANNEL:
                self._channel(bytes(view[start : start + length]), at)
            elif opcode == Opcode.MESSAGE:
                yield from self._message(view[start : start + length], at)
            position = start + length
        return len(view) - position

    def _message(self, record: memoryview, at: int) -> Iterator[CapturedMessage]:
        if len(record) < _MESSAGE.size:
            self._note(self._damaged(at, f"a message record of {len(record)} bytes, expected {_MESSAGE.size} or more"))
            return
        channel_id, _, log_time, _ = _MESSAGE.unpack_from(record)
        if channel_id not in self._channels and self._damage is None:
            # Behind damage the channel may just have been lost with its chunk, and V4 speaks for itself.
            self._note(self._damaged(at, f"a message of channel {channel_id}, which the file does not have"))
            return
        payload = bytes(record[_MESSAGE.size :])
        try:
            length = message_length(payload)
        except ProtocolError as error:
            self._note(self._damaged(at, f"a message that is not V4: {error.reason}"))
            return
        if length != len(payload):
            self._note(self._damaged(at, f"a message of {len(payload)} bytes, expected {length or 'more'}"))
            return
        yield CapturedMessage(payload, log_time, at)

    def _parse(self, kind: type[_Parsed], body: bytes, at: int) -> _Parsed | None:
        try:
            return kind.read(ReadDataStream(BytesIO(body)))  # type: ignore[no-any-return, attr-defined]
        except _UNREADABLE:
            self._note(self._damaged(at, f"a {kind.__name__} record that cannot be read"))
            return None

    def _damaged(self, at: int, what: str) -> CaptureError:
        return CaptureError(f"{self._source.name} is damaged: byte {at}: {what}")

    def _cut_off(self, at: int) -> CaptureError:
        return CaptureError(
            f"{self._source.name} is cut off: byte {at}: the file ends at byte {self._source.offset}, expected more",
            hint="the recorder was stopped before it could finish the file; what came before is intact",
        )

    def _note(self, error: CaptureError) -> None:
        self._damage = self._damage or error

    def _worst(self, error: CaptureError) -> CaptureError:
        """What to raise: the first damage there was."""
        return self._damage or error


class _Damaged(Exception):  # noqa: N818  # a signal inside this module
    pass


def _decompress(chunk: Chunk) -> bytes:
    """The content of a chunk, or as much of it as the bytes that are there give; never more than it promises.

    Raises:
        _Damaged: not what it should be, or too large.
    """
    size = chunk.uncompressed_size
    if size > MAX_CHUNK_BYTES:
        raise _Damaged(f"a chunk of {size} bytes, expected at most {MAX_CHUNK_BYTES}")
    try:
        match chunk.compression:
            case "":
                return chunk.data
            case "lz4":
                # One byte more than promised, so that a chunk that holds more is noticed.
                return bytes(lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1))
            case "zstd":
                return _decompress_zstd(chunk.data, size + 1)
    except (RuntimeError, EOFError, MemoryError, ValueError, zstandard.ZstdError) as error:
        raise _Damaged(f"a chunk that cannot be decompressed ({error})") from None
    raise _Damaged(f"chunk compression {chunk.compression!r}, expected lz4, zstd or none")


def _decompress_zstd(data: bytes, most: int) -> bytes:
    # Through the stream interface: the one-shot call believes the size that the frame claims for itself.
    parts = []
    with zstandard.ZstdDecompressor().stream_reader(BytesIO(data)) as stream:
        while most and (piece := stream.read(min(most, PIECE_BYTES))):
            parts.append(piece)
            most -= len(piece)
    return b"".join(parts)
