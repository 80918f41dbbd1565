"""MCAP records: how they are framed, whether one is plausible, and what a chunk contains."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Final

import lz4.frame
import zstandard
from mcap.opcode import Opcode
from mcap.records import Chunk

from vfctl.capture.source import PIECE_BYTES
from vfctl.protocol.wire import MAX_MESSAGE_BYTES

MAX_CHUNK_BYTES: Final = MAX_MESSAGE_BYTES + 4 * 2**20
"""Largest chunk: the largest message behind what a writer had already collected."""


class ChunkError(Exception):
    """A chunk that cannot be unpacked. The reader records it as a loss."""


def unpack(chunk: Chunk) -> bytes:
    """The content of a chunk, or as much of it as can be unpacked; at most one byte more than its size field.

    Raises:
        ChunkError: it is damaged, or too large.
    """
    size = chunk.uncompressed_size
    if size > MAX_CHUNK_BYTES:
        raise ChunkError(f"a chunk of {size} bytes, expected at most {MAX_CHUNK_BYTES}")
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
        raise ChunkError(f"a chunk that cannot be decompressed ({error})") from None
    raise ChunkError(f"chunk compression {chunk.compression!r}, expected lz4, zstd or none")


def _decompress_zstd(data: bytes, most: int) -> bytes:
    # With the stream interface, because the one-shot call trusts the size in the frame.
    parts = []
    with zstandard.ZstdDecompressor().stream_reader(BytesIO(data)) as stream:
        while most and (piece := stream.read(min(most, PIECE_BYTES))):
            parts.append(piece)
            most -= len(piece)
    return b"".join(parts)


RECORD = struct.Struct("<BQ")
"""opcode, length of what follows."""
CHUNK = struct.Struct("<QQQII")
"""start time, end time, uncompressed size, uncompressed CRC, length of the compression's name."""
MAX_PASSED_BYTES: Final = 2**24
"""Longest record, other than attachments and private ones, that is skipped: an index of a chunk."""
_LAYOUTS: Final[dict[int, tuple[int | None, ...]]] = {
    Opcode.HEADER: (None, None),
    Opcode.SCHEMA: (2, None, None, None),
    Opcode.CHANNEL: (4, None, None, None),
    Opcode.MESSAGE_INDEX: (2, None),
    Opcode.CHUNK_INDEX: (32, None, 8, None, 16),
    Opcode.ATTACHMENT_INDEX: (40, None, None),
    Opcode.STATISTICS: (42, None),
    Opcode.METADATA: (None, None),
    Opcode.SUMMARY_OFFSET: (17,),
    Opcode.DATA_END: (4,),
}
"""Parts of each record: a number of bytes, or None for a length of four bytes and as many bytes behind it."""


def implausible(opcode: int, length: int) -> str | None:
    """The fault of a record's opcode and length; None if they are plausible."""
    # Opcode 0 is not used. A file system that lost the end of a file often leaves zeros there.
    if opcode == 0 or Opcode.DATA_END < opcode < 0x80:
        return f"record type 0x{opcode:02x}, expected an MCAP record"
    if opcode in (Opcode.ATTACHMENT, *range(0x80, 0x100)):
        return None if length < 2**40 else f"a record of {length} bytes"
    most = MAX_CHUNK_BYTES if opcode in (Opcode.CHUNK, Opcode.MESSAGE) else MAX_PASSED_BYTES
    return None if length <= most else f"a record of {length} bytes, expected at most {most}"


def fills(opcode: int, body: memoryview) -> bool:
    """Whether the lengths of the parts of a record add up to its length."""
    layout = _LAYOUTS.get(opcode)
    if layout is None:
        return False
    at = 0
    for size in layout:
        at += 4 + int.from_bytes(body[at : at + 4], "little") if size is None else size
    return at == len(body)


def chunk_length(buffer: memoryview, index: int) -> int | None:
    """Length of the chunk record at `index` by its inner lengths; None if they are impossible."""
    start = index + RECORD.size
    if len(buffer) < start + CHUNK.size:
        return None
    name_length: int = CHUNK.unpack_from(buffer, start)[-1]
    at = start + CHUNK.size + name_length
    if name_length > 32 or len(buffer) < at + 8:
        return None
    return at + 8 + int.from_bytes(buffer[at : at + 8], "little") - index
