"""The constants of V4: types, flags, record layouts and limits (`docs/protocol.md` is the normative text)."""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final

import numpy as np

VERSION: Final = 4

HEADER: Final = struct.Struct("<BBBB")
"""version, type, flags, reserved."""

TRAILER: Final = struct.Struct("<QQI")
"""sequence, unix time in µs at which the state was valid, interval in µs until the next round (0: unknown)."""

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
"""No message is larger than this (9.5 million nodes): bounds what a length field can make a reader buffer."""

MAX_LZ4_RATIO: Final = 255
"""An LZ4 block cannot expand by more than this: one extra length byte encodes at most 255 bytes of a match."""


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
"""Which flags each type may carry; any other is a `ProtocolError`."""
