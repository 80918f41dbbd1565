"""Recordings that were compressed as files: gzip, zstd, xz, bzip2 and LZ4 frames, unpacked as they are read."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import lz4.frame
import zstandard

from vfctl.capture.source import ByteSource

_PIECE_BYTES: Final = 2**12
"""Little at once: of the piece in which the damage is nothing comes out."""
_ZSTD_PIECE_BYTES: Final = 2**8
"""Even less, as there is no bound to what comes out: 4 bytes may be a block of 128 KiB."""

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
"""What the libraries raise on bytes that are not what they should be."""


class _Gzip:
    """zlib's decompressor with the face of the others."""

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
    """zstandard's decompressor, which unpacks all that it is given at once."""

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
    """What a source holds, and the name of the compression; the source itself and None if it is not compressed."""
    start = source.peek(8)
    for magic, name, make in _KINDS:
        if start.startswith(magic) and (name != "bzip2" or start[4:8] == b"1AY&"):
            return UnpackedSource(source, name, make), name
    return source, None


class UnpackedSource(ByteSource):
    """Reads what a compressed source holds. Where it is damaged it ends, and `damage` says so."""

    def __init__(self, packed: ByteSource, compression: str, make: Callable[[], Any]) -> None:
        stream: BinaryIO = _Unpacking(packed, compression, make, self)  # type: ignore[assignment]  # all that is used of it
        super().__init__(stream, packed.name, rereadable=packed.rereadable)

    def look(self, offset: int, length: int) -> bytes | None:
        """None: there is no way to anywhere but through what stands before."""
        return None

    def close(self) -> None:
        """Close the file that is unpacked."""
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
