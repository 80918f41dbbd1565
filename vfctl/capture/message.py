"""One recorded message, or a run of equal ones, and what its bytes say without decoding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vfctl.protocol import NODE_DTYPE, Flag, MessageType, Trailer
from vfctl.protocol.deployed import Form
from vfctl.protocol.messages import TYPE_IDS
from vfctl.protocol.wire import HEADER, TRAILER, VERSION

__all__ = [
    "CapturedMessage",
    "Direction",
    "Form",
    "UpdateRun",
    "flags_of",
    "raw_update_bytes",
    "trailer_of",
    "type_name",
]

TRAILER_DTYPE: Final = np.dtype([("sequence", "<u8"), ("timestamp_us", "<u8"), ("interval_us", "<u4")])
"""One trailer on the wire: 20 bytes, packed."""

TYPE_NAMES: Final[dict[int, str]] = {type_id: type_id.name.title().replace("_", "") for type_id in TYPE_IDS.values()}
"""Name of each defined message type. All other types are `Reserved`."""


class Direction(StrEnum):
    """The sender of a message."""

    SERVER = "server"
    CLIENT = "client"


class CapturedMessage(NamedTuple):
    """One message of a recording. It is a tuple because millions of them are created.

    Attributes:
        payload: the bytes of one message as received. Of a V4 message, only header and length have been checked. Other
            forms are frames of deployed servers, of which only the length has been checked.
        arrival_ns: unix time of the arrival in ns; None if the format does not store it.
        offset: byte offset in the (uncompressed) file of the message, or of the MCAP chunk or packet that contains it.
        direction: the sender; `server` if the file does not say.
        connection: number of the connection within the file, from 0, in order of appearance.
        form: V4, or the form of a deployed server.
    """

    payload: bytes
    arrival_ns: int | None
    offset: int
    direction: Direction = Direction.SERVER
    connection: int = 0
    form: Form = Form.V4


@dataclass(frozen=True, slots=True, eq=False)
class UpdateRun:
    """Consecutive PositionUpdates from the server with the same header and node count, raw (not LZ4, not COMPACT).

    Most of a recording is such runs. They are decoded with one NumPy view, which costs a hundredth of decoding them
    one by one.

    Attributes:
        payloads: uint8 [messages, bytes], the messages.
        offsets: int64 [messages], as for CapturedMessage.
        arrivals_ns: int64 [messages], as for CapturedMessage; None if the format does not store it.
        connection: as for CapturedMessage.
    """

    payloads: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    arrivals_ns: npt.NDArray[np.int64] | None = None
    connection: int = 0

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def offset(self) -> int:
        """Of the first message."""
        return int(self.offsets[0])

    @property
    def nodes(self) -> npt.NDArray[np.void]:
        """NODE_DTYPE [messages, nodes], a view."""
        end = self.payloads.shape[1] - (TRAILER.size if self._flags & Flag.TIMED else 0)
        return self.payloads[:, HEAD_BYTES:end].view(NODE_DTYPE)

    @property
    def trailers(self) -> npt.NDArray[np.void] | None:
        """TRAILER_DTYPE [messages], a view; None if they are not TIMED."""
        return self.payloads[:, -TRAILER.size :].view(TRAILER_DTYPE)[:, 0] if self._flags & Flag.TIMED else None

    @property
    def settled(self) -> bool:
        """Whether all of them are SETTLED."""
        return bool(self._flags & Flag.SETTLED)

    @property
    def _flags(self) -> int:
        return int(self.payloads[0, 2])

    def messages(self) -> Iterator[CapturedMessage]:
        """The same messages one by one."""
        arrivals_ns = [None] * len(self) if self.arrivals_ns is None else self.arrivals_ns.tolist()
        for payload, arrival_ns, offset in zip(self.payloads, arrivals_ns, self.offsets.tolist(), strict=True):
            yield CapturedMessage(payload.tobytes(), arrival_ns, offset, connection=self.connection)


HEAD_BYTES: Final = 8
"""Header and node count."""
_RAW_UPDATES: Final[dict[int, int]] = {
    VERSION | MessageType.POSITION_UPDATE << 8 | flags << 16: HEAD_BYTES + (TRAILER.size if flags & Flag.TIMED else 0)
    for flags in (0, Flag.TIMED, Flag.SETTLED, Flag.TIMED | Flag.SETTLED)
}
"""By version, type and flags: the length of a raw PositionUpdate without its nodes."""


def raw_update_bytes(head: int) -> int | None:
    """The length of a raw PositionUpdate by its first eight bytes, little-endian; None of any other message."""
    fixed = _RAW_UPDATES.get(head & 0xFFFFFF)
    return None if fixed is None else fixed + (head >> 32) * NODE_DTYPE.itemsize


def type_name(payload: bytes) -> str:
    """Name of the type of a V4 message; `Reserved` for undefined types."""
    return TYPE_NAMES.get(payload[1], "Reserved")


def flags_of(payload: bytes) -> Flag:
    """Flags of a V4 message."""
    return Flag(payload[2])


def trailer_of(payload: bytes) -> Trailer | None:
    """Trailer of a V4 message; None if it is not TIMED."""
    if Flag.TIMED not in flags_of(payload) or len(payload) < HEADER.size + TRAILER.size:
        return None
    return Trailer(*TRAILER.unpack_from(payload, len(payload) - TRAILER.size))
