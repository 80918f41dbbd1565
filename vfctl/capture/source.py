"""Bytes from a file or a pipe, in pieces of a bounded size, counted and summed up."""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from vfctl.errors import InputError

PIECE_BYTES: Final = 2**20
"""Most that is read at once: a length field that lies cannot make us allocate more than is really there."""

STDIN: Final = "-"


class ByteSource:
    """Reads forwards only, so that a pipe does as well as a file.

    Attributes:
        name: what to call it in messages.
        rereadable: a regular file, which can be opened once more.
        offset: how many bytes have been read.
        crc: CRC-32 of what has been read since it was last set to 0.
    """

    def __init__(self, stream: BinaryIO, name: str, *, rereadable: bool) -> None:
        self._stream = stream
        # read() of a pipe waits for all that it was asked for; read1() hands over what has come.
        self._read: Callable[[int], bytes] = stream.read if rereadable else getattr(stream, "read1", stream.read)
        self._pushed_back = b""
        self.name = name
        self.rereadable = rereadable
        self.offset = 0
        self.crc = 0

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
        """What is there of the next `most` bytes, at least one of them; nothing at the end.

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
        self.offset += len(piece)
        self.crc = zlib.crc32(piece, self.crc)
        return piece

    def skip(self, length: int) -> int:
        """Read and forget up to `length` bytes; how many there were."""
        start = self.offset
        while length > self.offset - start and self.read_some(min(length - (self.offset - start), PIECE_BYTES)):
            pass
        return self.offset - start

    def peek(self, length: int) -> bytes:
        """The next `length` bytes (fewer at the end), which stay to be read."""
        if self.offset:
            raise ValueError("peek only looks at the start")
        self._pushed_back = self.read(length)
        self.offset = self.crc = 0
        return self._pushed_back

    def close(self) -> None:
        """Close the file; stdin stays open, it is not ours."""
        if self.name != "stdin":
            self._stream.close()


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
