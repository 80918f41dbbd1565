"""Bytes from a file or a pipe, in pieces of a bounded size, and a window over them to look ahead in."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
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
        damage: what ended the bytes too early, where they come out of a compressed file; None if nothing did.
    """

    def __init__(self, stream: BinaryIO, name: str, *, rereadable: bool) -> None:
        self._stream = stream
        # read() of a pipe waits for all that it was asked for; read1() hands over what has come.
        self._read: Callable[[int], bytes] = stream.read if rereadable else getattr(stream, "read1", stream.read)
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
        return piece

    def peek(self, length: int) -> bytes:
        """The next `length` bytes (fewer at the end), which stay to be read.

        A pipe gives what has come so far, but at least 8 bytes: it may be live, and its writer wait for us.
        """
        if self.offset:
            raise ValueError("peek only looks at the start")
        start = self._pushed_back
        self._pushed_back = b""
        least = length if self.rereadable else min(length, _LEAST_PEEK_BYTES)
        while len(start) < least and (piece := self.read_some()):
            start += piece
        self._pushed_back = start
        self.offset = 0
        return start[:length]

    def look(self, offset: int, length: int) -> bytes | None:
        """Up to `length` bytes from anywhere, without reading up to there; None where that is not possible."""
        if self.rereadable:
            with suppress(OSError, AttributeError, ValueError):
                return os.pread(self._stream.fileno(), length, offset)
        return None

    def close(self) -> None:
        """Close the file; stdin stays open, it is not ours."""
        if self.name != "stdin":
            self._stream.close()


_LEAST_PEEK_BYTES: Final = 8


def resembles(start: bytes | bytearray, magic: bytes) -> bool:
    """Whether bytes begin with a magic number of which one bit may be wrong."""
    if len(start) < len(magic):
        return False
    difference = int.from_bytes(start[: len(magic)], "big") ^ int.from_bytes(magic, "big")
    return difference.bit_count() <= 1


class Window:
    """The part of a source that is being looked at: it can be gone over again, as far as it has not been let go.

    Attributes:
        buffer: bytes of the source; what stands before `start` has been let go.
        start: where in `buffer` the present place is.
        ended: whether the source has no more than what is in `buffer`.
    """

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.buffer = bytearray()
        self.start = 0
        self.ended = False
        self._base = source.offset

    @property
    def offset(self) -> int:
        """Of the present place, in the source."""
        return self._base + self.start

    @property
    def available(self) -> int:
        """How many bytes there are from the present place on, as far as they have been read."""
        return len(self.buffer) - self.start

    def fill(self, length: int) -> int:
        """Read until `length` bytes are there from the present place on, or the end; how many there are.

        Raises:
            InputError: the operating system cannot read on.
        """
        if self.available < length and not self.ended:
            del self.buffer[: self.start]
            self._base += self.start
            self.start = 0
            while len(self.buffer) < length:
                piece = self.source.read_some()
                if not piece:
                    self.ended = True
                    break
                self.buffer += piece
        return self.available

    def let_go(self, length: int) -> None:
        """Move on by so many bytes, which must be there."""
        self.start += length

    def skip(self, length: int) -> int:
        """Move on by up to `length` bytes without keeping them; how many there were."""
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
