"""Bytes from a file, a pipe or a compressed file, and a window to look ahead in them."""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import lz4.frame
import numpy as np
import zstandard

from vfctl.errors import InputError

PIECE_BYTES: Final = 2**20
"""Most bytes that are read at once. So a wrong length field cannot cause a large allocation."""

_FIRST_BLOCK_BYTES: Final = 2**18

STDIN: Final = "-"


class ByteSource:
    """Reads forwards only, so that pipes work like files.

    Attributes:
        name: its name in messages.
        rereadable: whether it is a regular file, which can be opened again.
        offset: number of bytes read so far.
        damage: why a compressed file could not be unpacked to its end; None if it could.
    """

    def __init__(self, stream: BinaryIO, name: str, *, rereadable: bool) -> None:
        self._stream = stream
        # read() of a pipe waits for all bytes that were requested; read1() returns what is available.
        self._read: Callable[[int], bytes] = stream.read if rereadable else getattr(stream, "read1", stream.read)
        # Straight into the window's memory, without a copy.
        self._readinto: Callable[[memoryview], int] | None = getattr(stream, "readinto", None) if rereadable else None
        self._pushed_back = b""
        self.name = name
        self.rereadable = rereadable
        self.offset = 0
        self.damage: str | None = None

    def read(self, length: int) -> bytes:
        """The next `length` bytes; fewer only at the end.

        Raises:
            InputError: the operating system cannot read on.
        """
        parts = []
        while length and (piece := self.read_some(min(length, PIECE_BYTES))):
            parts.append(piece)
            length -= len(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_some(self, most: int = PIECE_BYTES) -> bytes:
        """Up to `most` of the next bytes, at least one; nothing at the end.

        Raises:
            InputError: the operating system cannot read on.
        """
        if self._pushed_back:
            piece, self._pushed_back = self._pushed_back[:most], self._pushed_back[most:]
        else:
            try:
                piece = self._read(most)
            except OSError as error:
                raise InputError(f"cannot read {self.name}: {error.strerror or error}") from None
            if len(piece) > most:  # zstd unpacks whole blocks
                piece, self._pushed_back = piece[:most], piece[most:]
        self.offset += len(piece)
        return piece

    def read_into(self, memory: memoryview) -> int:
        """As `read_some`, into memory that is not empty; returns how many bytes were read.

        Raises:
            InputError: the operating system cannot read on.
        """
        if self._readinto is None or self._pushed_back:
            piece = self.read_some(min(len(memory), PIECE_BYTES))
            memory[: len(piece)] = piece
            return len(piece)
        try:
            count = self._readinto(memory)
        except OSError as error:
            raise InputError(f"cannot read {self.name}: {error.strerror or error}") from None
        self.offset += count
        return count

    def peek(self, length: int) -> bytes:
        """The next `length` bytes (fewer at the end), without consuming them.

        A pipe returns what is available, but at least 8 bytes, because its writer may wait for the reader.
        """
        if self.offset:
            raise ValueError("peek only looks at the start")
        start = self._pushed_back
        self._pushed_back = b""
        least = length if self.rereadable else min(length, _LEAST_PEEK_BYTES)
        while len(start) < least and (piece := self.read_some()):
            start += piece
        self._pushed_back = start + self._pushed_back
        self.offset = 0
        return start[:length]

    def look(self, offset: int, length: int) -> bytes | None:
        """Up to `length` bytes at any offset, without reading what is before it; None if that is impossible."""
        if self.rereadable:
            with suppress(OSError, AttributeError, ValueError):
                return os.pread(self._stream.fileno(), length, offset)
        return None

    def close(self) -> None:
        """Close the file. Stdin stays open."""
        if self.name != "stdin":
            self._stream.close()


_LEAST_PEEK_BYTES: Final = 8


def resembles(start: bytes | bytearray, magic: bytes) -> bool:
    """Whether bytes begin with a magic number. One bit of it may be wrong, so that a damaged file is recognised."""
    if len(start) < len(magic):
        return False
    difference = int.from_bytes(start[: len(magic)], "big") ^ int.from_bytes(magic, "big")
    return difference.bit_count() <= 1


class Window:
    """The part of a source that is being read: bytes stay available until they are released.

    Memory that has been handed out is never written again, so views of `buffer` can be kept.

    Args:
        block_bytes: how much of a file is read at once, behind its first blocks, which are smaller.

    Attributes:
        buffer: bytes of the source; those before `start` have been released.
        start: index of the current position in `buffer`.
        ended: whether the source has no bytes behind `buffer`.
    """

    def __init__(self, source: ByteSource, block_bytes: int = PIECE_BYTES) -> None:
        self.source = source
        self._block_bytes = block_bytes
        self.buffer = memoryview(b"")
        self.start = 0
        self.ended = False
        self._base = source.offset
        self._memory = self.buffer

    @property
    def offset(self) -> int:
        """Offset of the current position in the source."""
        return self._base + self.start

    @property
    def available(self) -> int:
        """Number of bytes from the current position on that have been read."""
        return len(self.buffer) - self.start

    def fill(self, length: int) -> int:
        """Read until `length` bytes are available, or to the end of the source; return how many are.

        Raises:
            InputError: the operating system cannot read on.
        """
        while self.available < length and not self.ended:
            filled = len(self.buffer)
            if filled == len(self._memory) or (self.start and self.start + length > len(self._memory)):
                self._move(length)
                filled = len(self.buffer)
            count = self.source.read_into(self._memory[filled:])
            self.ended = not count
            self.buffer = self._memory[: filled + count]
        return self.available

    def _move(self, length: int) -> None:
        """Continue in new memory with more room, for `length` bytes in the end.

        It grows with the bytes that are really there, so a wrong length does not allocate anything.
        """
        rest = self.buffer[self.start :]
        growth = 4 if len(self.buffer) == len(self._memory) else 1
        block_bytes = min(self._block_bytes, max(_FIRST_BLOCK_BYTES, growth * len(self._memory)))
        size = max(block_bytes, len(rest) * 5 // 4, min(length, 2 * len(rest)))
        self._memory = np.empty(size, np.uint8).data
        self._memory[: len(rest)] = rest
        self.buffer = self._memory[: len(rest)]
        self._base += self.start
        self.start = 0

    def let_go(self, length: int) -> None:
        """Move on by `length` bytes, which must be available."""
        self.start += length

    def skip(self, length: int) -> int:
        """Move on by up to `length` bytes without keeping them; return how many there were."""
        skipped = 0
        while skipped < length:
            step = min(length - skipped, self.fill(1))
            if not step:
                break
            self.start += step
            skipped += step
        return skipped


def open_source(path: str | Path, stdin: BinaryIO | None = None) -> ByteSource:
    """Open a file, or stdin for `-`.

    Raises:
        InputError: it does not exist or cannot be read.
    """
    if str(path) == STDIN:
        return ByteSource(stdin if stdin is not None else sys.stdin.buffer, "stdin", rereadable=False)
    try:
        file = Path(path).open("rb")  # noqa: SIM115  # the ByteSource closes it
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read {path}: {reason}") from None
    return ByteSource(file, str(path), rereadable=stat.S_ISREG(os.fstat(file.fileno()).st_mode))


_PIECE_BYTES: Final = 2**12
"""Small, because nothing comes out of a piece that is damaged."""
_ZSTD_PIECE_BYTES: Final = 2**8
"""Smaller still, because the output is not bounded: 4 bytes may be a block of 128 KiB."""

_ERRORS: Final = (
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    MemoryError,
)
"""Exceptions of the libraries for damaged data."""


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._waiting and not self._inner.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._inner.decompress(self._waiting + data, max_length)
        self._waiting = self._inner.unconsumed_tail
        return unpacked


class _Zstd:
    """zstandard's decompressor with the interface of the others. It ignores `max_length`."""

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._inner.decompress(data))


_KINDS: Final[tuple[tuple[bytes, str, Callable[[], Any]], ...]] = (
    (b"\x1f\x8b\x08", "gzip", _Gzip),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstd),
    (b"\xfd7zXZ\0", "xz", lzma.LZMADecompressor),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\x04\x22\x4d\x18", "lz4", lz4.frame.LZ4FrameDecompressor),
)


def unpacked(source: ByteSource) -> tuple[ByteSource, str | None]:
    """The uncompressed source and the name of the compression; the source itself and None if it is not compressed."""
    start = source.peek(8)
    for magic, name, make in _KINDS:
        if start.startswith(magic) and (name != "bzip2" or start[4:8] == b"1AY&"):
            return UnpackedSource(source, name, make), name
    return source, None


class UnpackedSource(ByteSource):
    """Reads a compressed source. It ends where the data is damaged, and `damage` then says why."""

    def __init__(self, packed: ByteSource, compression: str, make: Callable[[], Any]) -> None:
        stream: BinaryIO = _Unpacking(packed, compression, make, self)  # type: ignore[assignment]  # all that is used of it
        super().__init__(stream, packed.name, rereadable=packed.rereadable)

    def look(self, offset: int, length: int) -> bytes | None:
        """None, because compressed data can only be read from its start."""
        return None

    def close(self) -> None:
        """Close the compressed file."""
        self._stream.close()


class _Unpacking:
    def __init__(self, packed: ByteSource, compression: str, make: Callable[[], Any], owner: UnpackedSource) -> None:
        self._packed = packed
        self._compression = compression
        self._zstd = compression == "zstd"
        self._make = make
        self._owner = owner
        self._inner: Any = make()
        self._waiting = b""
        self._whole = False  # a member has ended and no other has begun
        self._over = False

    def read(self, most: int) -> bytes:
        while not self._over:
            try:
                unpacked = self._step(most)
            except _ERRORS as error:
                self._end(f"{self._compression} data that cannot be unpacked ({error})")
                break
            if unpacked:
                return unpacked
        return b""

    def _step(self, most: int) -> bytes:
        if self._inner.eof:
            self._waiting = self._inner.unused_data or self._waiting
            self._inner = self._make()
            self._whole = True
        data = b""
        if self._inner.needs_input:
            data = self._waiting or self._packed.read_some(_ZSTD_PIECE_BYTES if self._zstd else _PIECE_BYTES)
            self._waiting = b""
            if not data:
                self._end(None if self._whole else f"the {self._compression} data ends too early")
                return b""
            self._whole = False
        return bytes(self._inner.decompress(data, max_length=most))

    def _end(self, damage: str | None) -> None:
        self._over = True
        if damage:
            self._owner.damage = f"byte {self._packed.offset} of the compressed file: {damage}"

    def close(self) -> None:
        self._packed.close()
