"""What travels between the frame source and the gateways: V4 bytes in a small envelope that says who sent them."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from vfctl.errors import ProtocolError
from vfctl.protocol.wire import MAX_MESSAGE_BYTES, Buffer

ENVELOPE: Final = struct.Struct("<IBII")
"""payload length, kind, gateway, client."""

TIMESTAMP: Final = struct.Struct("<Q")
EVERYBODY: Final = 0
"""As `client`: not one connection but all whom it concerns. Client numbers begin at 1."""

CLIENTS_PER_GATEWAY: Final = 2**24
"""Client numbers of a gateway are below this."""


class Kind(IntEnum):
    """What an envelope carries."""

    GRAPH = 1
    """To gateways: FullGraph with METADATA and TIMED. Replaces what was served before."""
    FRAME = 2
    """To gateways: the newest PositionUpdate, TIMED with the time at which it was valid. If its trailer has an interval
    it is one of a recording, which each client is to get once; the next one comes then."""
    CONFIRM = 3
    """To gateways: the last frame was still valid at this unix time in µs (u64)."""
    EVENT = 4
    """To gateways: a V4 message from, or for, a client: somebody's voice or selection, a notice to one client."""
    COMMAND = 5
    """From a gateway: a V4 message that a client has sent."""
    REQUEST = 6
    """From a gateway: a question to the source, JSON; `client` is the number of the question."""
    REPLY = 7
    """To gateways: the answer to the question of that gateway and number, JSON."""
    LISTEN = 8
    """From a recorder: what clients send is wanted as well, and nothing more often than every so many µs (u64)."""
    HEARD = 9
    """From a gateway that is recorded: a V4 message as a client has sent it, behind the unix time in ns (u64) at which
    it came. To recorders."""
    LOST = 10
    """To recorders: so many (u64) events and messages of clients were too much, and are missing here. From a gateway:
    so many messages of clients could not be handed on as HEARD."""
    LEFT = 11
    """From a gateway: a client that has sent a COMMAND has gone. Without a client: all of that gateway have."""


_KINDS: Final = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Envelope:
    """One item on the bus.

    Attributes:
        kind: what it carries.
        payload: V4 bytes; for CONFIRM eight bytes of time; else as the kind says.
        gateway: the gateway that the client is connected to.
        client: that client's number on its gateway; of a REQUEST and its REPLY, the number of the question.
    """

    kind: Kind
    payload: Buffer
    gateway: int = 0
    client: int = EVERYBODY

    @property
    def sender(self) -> int:
        """One number, u32, for gateway and client: as which others hear of that client."""
        return self.gateway * CLIENTS_PER_GATEWAY + self.client

    def pack(self) -> bytes:
        """The bytes on the bus."""
        return ENVELOPE.pack(len(self.payload), self.kind, self.gateway, self.client) + self.payload

    @classmethod
    def unpack_header(cls, header: Buffer) -> tuple[int, Kind, int, int]:
        """Payload length, kind, gateway and client.

        Raises:
            ProtocolError: an unknown kind or a length that no message has.
        """
        length, kind, gateway, client = ENVELOPE.unpack(header)
        if length > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"bus payload of {length} bytes, expected at most {MAX_MESSAGE_BYTES}", offset=0)
        known = _KINDS.get(kind)
        if known is None:
            raise ProtocolError(f"unknown bus envelope {kind}", offset=4)
        return length, known, gateway, client


class Subscription(Protocol):
    """A gateway's end of the bus."""

    def __aiter__(self) -> AsyncIterator[Envelope]:
        """What the source sends: a GRAPH first. Ends when the source goes away."""
        ...

    def send(self, envelope: Envelope) -> None:
        """Hand a client's command, or a question of our own, to the source."""
        ...

    async def close(self) -> None:
        """Leave the bus."""
        ...
