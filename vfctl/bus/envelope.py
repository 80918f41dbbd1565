"""The envelopes on the bus between the frame source and the gateways: V4 bytes, and which client they concern."""

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
"""In place of a client number: the envelope concerns all clients. Client numbers start at 1."""

CLIENTS_PER_GATEWAY: Final = 2**24
"""Client numbers of a gateway are smaller than this."""


class Kind(IntEnum):
    """What an envelope carries."""

    GRAPH = 1
    """To gateways: FullGraph with METADATA and TIMED. It replaces the graph that was served before."""
    FRAME = 2
    """To gateways: the newest PositionUpdate, TIMED with the time at which it was valid. If its trailer has an
    interval, it is a recorded state, which each client is to get once. The next one comes after that interval."""
    CONFIRM = 3
    """To gateways: the last frame was still valid at this unix time in µs (u64)."""
    EVENT = 4
    """To gateways: a V4 message from or for a client: voice, a selection, a notice to one client."""
    COMMAND = 5
    """From a gateway: a V4 message that a client has sent."""
    REQUEST = 6
    """From a gateway: a request to the source, JSON. `client` is the number of the request."""
    REPLY = 7
    """To gateways: the reply to the request with that gateway and number, JSON."""
    LISTEN = 8
    """From a recorder: subscribe to clients' messages, too, and send nothing more often than every this many µs
    (u64)."""
    HEARD = 9
    """From a gateway that is recorded, to recorders: the unix time of arrival in ns (u64), and then the V4 message of a
    client."""
    LOST = 10
    """To recorders: how many (u64) events and messages of clients were dropped here. From a gateway: how many messages
    of clients could not be sent as HEARD."""
    LEFT = 11
    """From a gateway: a client that has sent a COMMAND has disconnected. Without a client: all clients of that
    gateway."""


_KINDS: Final = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Envelope:
    """One item on the bus.

    Attributes:
        kind: what it carries.
        payload: V4 bytes, or what the kind says.
        gateway: the gateway that the client is connected to.
        client: number of the client on its gateway; for REQUEST and REPLY the number of the request.
    """

    kind: Kind
    payload: Buffer
    gateway: int = 0
    client: int = EVERYBODY

    @property
    def sender(self) -> int:
        """Gateway and client as one number, u32, by which other clients know the client."""
        return self.gateway * CLIENTS_PER_GATEWAY + self.client

    def pack(self) -> bytes:
        """The bytes on the bus."""
        return ENVELOPE.pack(len(self.payload), self.kind, self.gateway, self.client) + self.payload

    @classmethod
    def unpack_header(cls, header: Buffer) -> tuple[int, Kind, int, int]:
        """Payload length, kind, gateway and client.

        Raises:
            ProtocolError: an unknown kind, or a length beyond that of any message.
        """
        length, kind, gateway, client = ENVELOPE.unpack(header)
        if length > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"bus payload of {length} bytes, expected at most {MAX_MESSAGE_BYTES}", offset=0)
        known = _KINDS.get(kind)
        if known is None:
            raise ProtocolError(f"unknown bus envelope {kind}", offset=4)
        return length, known, gateway, client


class BusConnection(Protocol):
    """A gateway's end of the bus."""

    def __aiter__(self) -> AsyncIterator[Envelope]:
        """Yield the envelopes of the source, a GRAPH first. Ends when the source disconnects."""
        ...

    def send(self, envelope: Envelope) -> None:
        """Send a command of a client, or a request, to the source."""
        ...

    async def close(self) -> None:
        """Leave the bus."""
        ...
