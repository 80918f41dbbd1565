"""One recorded message, and what its bytes tell without decoding it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from vfctl.protocol import Flag, Trailer
from vfctl.protocol.deployed import Form
from vfctl.protocol.messages import TYPE_IDS
from vfctl.protocol.wire import HEADER, TRAILER

__all__ = ["CapturedMessage", "Direction", "Form", "flags_of", "trailer_of", "type_name"]

TYPE_NAMES: Final[dict[int, str]] = {type_id: type_id.name.title().replace("_", "") for type_id in TYPE_IDS.values()}
"""The name of each type byte that has a meaning; every other one is `Reserved`."""


class Direction(StrEnum):
    """Who sent a message."""

    SERVER = "server"
    CLIENT = "client"


class CapturedMessage(NamedTuple):
    """One message of a recording. (A tuple, because millions of them are made where each microsecond counts.)

    Attributes:
        payload: exactly one message as it was received. V4: header and length have been checked, the rest has not.
            Any other form: the deployed server's frame as it was, of a length that fits.
        arrival_ns: unix time in ns at which it arrived; None where the format has no room for it.
        offset: byte offset in the file (in what it unpacks to, if it is compressed) of the message, or of the MCAP
            chunk or packet that holds it.
        direction: who sent it; `server` where the file does not say.
        connection: number of the connection within the file, from 0, in order of appearance.
        form: what `payload` is.
    """

    payload: bytes
    arrival_ns: int | None
    offset: int
    direction: Direction = Direction.SERVER
    connection: int = 0
    form: Form = Form.V4


def type_name(payload: bytes) -> str:
    """The name of the type of a whole V4 message, `Reserved` for those without a meaning yet."""
    return TYPE_NAMES.get(payload[1], "Reserved")


def flags_of(payload: bytes) -> Flag:
    """The flags of a whole V4 message."""
    return Flag(payload[2])


def trailer_of(payload: bytes) -> Trailer | None:
    """The trailer of a whole V4 message, if it is TIMED."""
    if Flag.TIMED not in flags_of(payload) or len(payload) < HEADER.size + TRAILER.size:
        return None
    return Trailer(*TRAILER.unpack_from(payload, len(payload) - TRAILER.size))
