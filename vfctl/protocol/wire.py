"""The constants of V4 (types, flags, records, limits) and the length of messages. `docs/protocol.md` is normative."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from typing import Final

import numpy as np

from vfctl.errors import ProtocolError

VERSION: Final = 4

HEADER: Final = struct.Struct("<BBBB")
"""version, type, flags, reserved."""

TRAILER: Final = struct.Struct("<QQI")
"""sequence, unix time in µs at which the state was valid, interval in µs until the next update (0: unknown)."""

U32: Final = struct.Struct("<I")
NODE_DRAG: Final = struct.Struct("<Ifff")
VOICE: Final = struct.Struct("<III")
"""stream, sample rate in Hz, number of samples."""
COMPRESSION: Final = struct.Struct("<II")
"""raw length, compressed length."""

NODE_DTYPE: Final = np.dtype(
    [("id", "<u4"), ("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("vx", "<f4"), ("vy", "<f4"), ("vz", "<f4")]
)
"""One node on the wire: 28 bytes, packed."""

EDGE_DTYPE: Final = np.dtype([("source", "<u4"), ("target", "<u4"), ("weight", "<f4")])
"""One edge on the wire: 12 bytes, packed; `source` and `target` are node ids."""

SAMPLE_DTYPE: Final = np.dtype("<i2")
"""One voice sample: PCM s16le mono."""

NO_NODE: Final = 0xFFFFFFFF
"""The node id by which NodeSelect clears the selection."""

MAX_MESSAGE_BYTES: Final = 256 * 2**20
"""No message is larger than this (9.5 million nodes). It bounds the memory that a length field can demand."""

MAX_LZ4_RATIO: Final = 255
"""An LZ4 block cannot expand by more than this, because a length byte encodes at most 255 bytes of a match."""


class MessageType(IntEnum):
    """The second byte of a message. 0x09–0x0F are reserved and opaque."""

    FULL_GRAPH = 0x01
    POSITION_UPDATE = 0x02
    NODE_SELECT = 0x03
    NODE_DRAG = 0x04
    HEARTBEAT = 0x05
    FILTER_UPDATE = 0x06
    VOICE_DATA = 0x07
    NOTICE = 0x08


FIRST_RESERVED_TYPE: Final = 0x09
LAST_RESERVED_TYPE: Final = 0x0F


class Flag(IntFlag):
    """The third byte of a message."""

    COMPRESSED = 0x01
    COMPACT = 0x02
    TIMED = 0x04
    METADATA = 0x08
    FINAL = 0x10
    SETTLED = 0x20


NO_FLAGS: Final = Flag(0)

ALLOWED_FLAGS: Final[dict[int, Flag]] = {
    MessageType.FULL_GRAPH: Flag.COMPRESSED | Flag.TIMED | Flag.METADATA,
    MessageType.POSITION_UPDATE: Flag.COMPRESSED | Flag.COMPACT | Flag.TIMED | Flag.SETTLED,
    MessageType.NODE_SELECT: NO_FLAGS,
    MessageType.NODE_DRAG: Flag.FINAL,
    MessageType.HEARTBEAT: Flag.FINAL,
    MessageType.FILTER_UPDATE: NO_FLAGS,
    MessageType.VOICE_DATA: Flag.TIMED,
    MessageType.NOTICE: NO_FLAGS,
    **dict.fromkeys(range(FIRST_RESERVED_TYPE, LAST_RESERVED_TYPE + 1), NO_FLAGS),
}
"""The flags that each type may have; any other is a `ProtocolError`."""


Buffer = bytes | bytearray | memoryview


def check_header(buffer: Buffer, start: int = 0) -> tuple[int, Flag]:
    """Return type and flags of the message at `start`, whose four header bytes must be there.

    Raises:
        ProtocolError: wrong version, unknown type, unknown flags or flags that the type does not allow.
    """
    version, type_id, flag_bits, _ = HEADER.unpack_from(buffer, start)
    if version != VERSION:
        raise ProtocolError(
            f"version {version}, expected {VERSION}",
            offset=0,
            hint="vfctl reads V4 only; it never guesses at other versions",
        )
    allowed = ALLOWED_FLAGS.get(type_id)
    if allowed is None:
        raise ProtocolError(f"unknown type 0x{type_id:02x}, expected 0x01–0x{LAST_RESERVED_TYPE:02x}", offset=1)
    excess = flag_bits & ~int(allowed)
    if excess:
        raise ProtocolError(
            f"flags 0x{flag_bits:02x} on type 0x{type_id:02x}, expected none but 0x{int(allowed):02x}",
            offset=2,
        )
    flags = Flag(flag_bits)
    if Flag.COMPRESSED in flags and Flag.COMPACT in flags:
        raise ProtocolError(f"flags 0x{flag_bits:02x}, expected COMPRESSED or COMPACT, not both", offset=2)
    return type_id, flags


def measure(buffer: Buffer, start: int = 0, end: int | None = None) -> tuple[int, bool]:
    """Compute the length of the message at `start`, as far as buffer[start:end] determines it.

    Returns:
        (bytes needed, whether this is the length of the message). While the second is False, the first is the number of
        bytes that are needed to determine more.

    Raises:
        ProtocolError: the header is wrong, or a length is out of range. Offsets count from `start`.
    """
    available = (len(buffer) if end is None else end) - start
    if available < HEADER.size:
        return HEADER.size, False
    type_id, flags = check_header(buffer, start)
    trailer = TRAILER.size if Flag.TIMED in flags else 0
    match type_id:
        case MessageType.NODE_SELECT:
            return 8, True
        case MessageType.NODE_DRAG:
            return HEADER.size + NODE_DRAG.size, True
        case MessageType.HEARTBEAT:
            return (20 if Flag.FINAL in flags else 12), True
        case MessageType.VOICE_DATA:
            fixed = HEADER.size + VOICE.size
            if available < fixed:
                return fixed, False
            _, _, samples = VOICE.unpack_from(buffer, start + HEADER.size)
            return _bounded(fixed + samples * SAMPLE_DTYPE.itemsize + trailer, "samples", samples, 12)
        case MessageType.FULL_GRAPH | MessageType.POSITION_UPDATE:
            return _measure_nodes(buffer, start, available, type_id, flags, trailer)
        case _:
            if available < 8:
                return 8, False
            (length,) = U32.unpack_from(buffer, start + 4)
            return _bounded(8 + length, "bytes", length, 4)


def _measure_nodes(
    buffer: Buffer, start: int, available: int, type_id: int, flags: Flag, trailer: int
) -> tuple[int, bool]:
    if available < 8:
        return 8, False
    (count,) = U32.unpack_from(buffer, start + 4)
    raw_nodes = count * NODE_DTYPE.itemsize
    _bounded(8 + raw_nodes, "nodes", count, 4)
    if Flag.COMPACT in flags:
        if available < 12:
            return 12, False
        (length,) = U32.unpack_from(buffer, start + 8)
        return _bounded(12 + length + trailer, "bytes", length, 8)
    if Flag.COMPRESSED in flags:
        if available < 16:
            return 16, False
        raw_length, compressed_length = COMPRESSION.unpack_from(buffer, start + 8)
        _check_raw_length(raw_length, compressed_length, raw_nodes, type_id)
        return _bounded(16 + compressed_length + trailer, "compressed bytes", compressed_length, 12)
    needed = 8 + raw_nodes
    _bounded(needed + trailer, "nodes", count, 4)
    if type_id == MessageType.FULL_GRAPH:
        if available < needed + 4:
            return needed + 4, False
        (edges,) = U32.unpack_from(buffer, start + needed)
        position, needed = needed, needed + 4 + edges * EDGE_DTYPE.itemsize
        _bounded(needed + trailer, "edges", edges, position)
        if Flag.METADATA in flags:
            if available < needed + 4:
                return needed + 4, False
            (length,) = U32.unpack_from(buffer, start + needed)
            position, needed = needed, needed + 4 + length
            _bounded(needed + trailer, "bytes of metadata", length, position)
    return needed + trailer, True


def _check_raw_length(raw_length: int, compressed_length: int, raw_nodes: int, type_id: int) -> None:
    if type_id == MessageType.POSITION_UPDATE and raw_length != raw_nodes:
        raise ProtocolError(f"raw length {raw_length}, expected {raw_nodes} for the nodes", offset=8)
    if type_id == MessageType.FULL_GRAPH and raw_length < raw_nodes + 4:
        raise ProtocolError(f"raw length {raw_length}, expected at least {raw_nodes + 4}", offset=8)
    most = min(MAX_MESSAGE_BYTES, compressed_length * MAX_LZ4_RATIO)
    if raw_length > most:
        raise ProtocolError(
            f"raw length {raw_length}, expected at most {most} from {compressed_length} compressed bytes",
            offset=8,
        )


def _bounded(total: int, what: str, count: int, offset: int) -> tuple[int, bool]:
    if total > MAX_MESSAGE_BYTES:
        raise ProtocolError(
            f"{count} {what} make {total} bytes, expected at most {MAX_MESSAGE_BYTES} a message",
            offset=offset,
        )
    return total, True


def message_length(buffer: Buffer, start: int = 0, end: int | None = None) -> int | None:
    """Return the length in bytes of the message at `start`, or None if buffer[start:end] is too short to determine it.

    Raises:
        ProtocolError: as for `measure`.
    """
    needed, whole = measure(buffer, start, end)
    return needed if whole else None


class MessageSplitter:
    """Splits a stream of concatenated messages, received in pieces of any size.

    A wrong header ends the stream, because the start of the next message is unknown.

    Attributes:
        offset: number of bytes of the stream that were returned as messages.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._start = 0  # of the pending bytes; before it are messages that were returned
        self._needed = HEADER.size
        self.offset = 0

    @property
    def pending(self) -> int:
        """Number of bytes that wait for the rest of their message."""
        return len(self._pending) - self._start

    def split(self, data: Buffer) -> Iterator[bytes]:
        """Append the next bytes at once. Return an iterator over the messages that are complete.

        Raises:
            ProtocolError: wrong header or length. The offset counts from the start of the stream.
        """
        del self._pending[: self._start]
        self._start = 0
        self._pending += data
        return self._whole_messages()

    def _whole_messages(self) -> Iterator[bytes]:
        while self.pending >= self._needed:
            try:
                needed, whole = measure(self._pending, self._start)
            except ProtocolError as error:
                raise error.shifted(self.offset) from None
            if not whole or self.pending < needed:
                self._needed = needed
                continue
            message = bytes(memoryview(self._pending)[self._start : self._start + needed])
            self._start += needed
            self.offset += needed
            self._needed = HEADER.size
            yield message

    def finish(self) -> None:
        """Check that the stream has ended at the end of a message.

        Raises:
            ProtocolError: a message is incomplete.
        """
        if self.pending:
            raise ProtocolError(
                f"{self.pending} bytes of a message that needs {self._needed}, expected the rest",
                offset=self.offset,
            )
