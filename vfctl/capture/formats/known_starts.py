"""How the messages of a plain recording have begun so far, by which a count that lies is told."""

from __future__ import annotations

import struct
from typing import Final

from vfctl.protocol.wire import HEADER, NODE_DTYPE, TRAILER, U32, VERSION, Flag, MessageType

HEAD = struct.Struct("<Q")
"""The header in the lower half, in the upper what is the node count in most messages."""
COMMON: Final[dict[int, int]] = {
    VERSION | MessageType.POSITION_UPDATE << 8 | flags << 16: HEAD.size + (TRAILER.size if flags & Flag.TIMED else 0)
    for flags in (0, Flag.TIMED, Flag.SETTLED, Flag.TIMED | Flag.SETTLED)
}
"""The headers of which a recording has most, and how many bytes such messages have besides their nodes."""

_MOST: Final = 8
"""So many different starts of messages are remembered: one that was seen before is likely real where it comes again."""


class KnownStarts:
    """The first eight bytes of the raw updates that there were, of the newest kinds, and how long those were."""

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}

    def __contains__(self, head: int) -> bool:
        return head in self._lengths

    def remember(self, buffer: bytearray | memoryview, index: int, length: int) -> None:
        """Keep in mind how the message at `index` begins, if many may begin like that."""
        (head,) = HEAD.unpack_from(buffer, index)
        if head & 0xFFFFFF in COMMON and head not in self._lengths:
            if len(self._lengths) == _MOST:
                del self._lengths[next(iter(self._lengths))]
            self._lengths[head] = length

    def swallows(self, buffer: bytearray | memoryview, index: int, length: int) -> bool:
        """Whether another message begins within this one, just where one with a count seen before would have ended.

        A count that lies may well end where a message does. Of a count that is new the next message's is tried as well.
        """
        for known in self._lengths.values():
            at = index + known
            if known < length and at + HEAD.size <= len(buffer) and HEAD.unpack_from(buffer, at)[0] in self._lengths:
                return True
        (head,) = HEAD.unpack_from(buffer, index)
        is_new = head & 0xFFFFFF in COMMON and head not in self._lengths
        return is_new and _repeats(bytes(buffer[index : index + length]))


def _repeats(message: bytes) -> bool:
    """Whether one with the same header and another count stands in it, where a first one with that count would end."""
    header = message[: HEADER.size]
    besides = COMMON[int.from_bytes(header[:3], "little")]
    at = message.find(header, HEAD.size)
    while 0 <= at <= len(message) - HEAD.size:
        (count,) = U32.unpack_from(message, at + HEADER.size)
        if besides + count * NODE_DTYPE.itemsize == at:
            return True
        at = message.find(header, at + 1)
    return False
