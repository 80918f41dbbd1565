"""What stands in an MCAP chunk, unpacked without believing its own word for how much that is."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import lz4.frame
import zstandard
from mcap.records import Chunk

from vfctl.capture.source import PIECE_BYTES
from vfctl.protocol.wire import MAX_MESSAGE_BYTES

MAX_CHUNK_BYTES: Final = MAX_MESSAGE_BYTES + 4 * 2**20
"""Most that a chunk may hold: room for the largest message behind what a writer had already gathered."""


class ChunkError(Exception):
    """A chunk that cannot be unpacked; for the reader to make a loss of."""


def unpack(chunk: Chunk) -> bytes:
    """The content of a chunk, or as much of it as the bytes that are there give; never more than it promises.

    Raises:
        ChunkError: not what it should be, or too large.
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
    # Through the stream interface: the one-shot call believes the size that the frame claims for itself.
    parts = []
    with zstandard.ZstdDecompressor().stream_reader(BytesIO(data)) as stream:
        while most and (piece := stream.read(min(most, PIECE_BYTES))):
            parts.append(piece)
            most -= len(piece)
    return b"".join(parts)
