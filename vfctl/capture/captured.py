"""One recorded message, and what its bytes tell without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vfctl.protocol import Flag, Trailer
from vfctl.protocol.messages import TYPE_IDS
from vfctl.protocol.wire import HEADER, TRAILER

TYPE_NAMES: Final[dict[int, str]] = {type_id: type_id.name.title().replace("_", "") for type_id in TYPE_IDS.values()}
"""The name of each type byte that has a meaning; every other one is `Reserved`."""


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """One message of a recording.

    Attributes:
        payload: exactly one V4 message as it was received: header and length have been checked, the rest has not.
        arrival_ns: unix time in ns at which it arrived; None where the format has no room for it.
        offset: byte offset in the file of the message, or of the MCAP chunk that holds it.
    """

    payload: bytes
    arrival_ns: int | None
    offset: int


def type_name(payload: bytes) -> str:
    """The name of the type of a whole message, `Reserved` for those without a meaning yet."""
    return TYPE_NAMES.get(payload[1], "Reserved")


def flags_of(payload: bytes) -> Flag:
    """The flags of a whole message."""
    return Flag(payload[2])


def trailer_of(payload: bytes) -> Trailer | None:
    """The trailer of a whole message, if it is TIMED."""
    if Flag.TIMED not in flags_of(payload) or len(payload) < HEADER.size + TRAILER.size:
        return None
    return Trailer(*TRAILER.unpack_from(payload, len(payload) - TRAILER.size))
