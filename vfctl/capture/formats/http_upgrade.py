"""The HTTP handshake before WebSocket frames: found, read, and what it agreed on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_HEAD_BYTES: Final = 2**16

REQUEST: Final = re.compile(rb"GET (\S{1,8000}) HTTP/1\.[01]\r\n")
RESPONSE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


@dataclass(frozen=True, slots=True)
class Deflate:
    """permessage-deflate as it was agreed (RFC 7692).

    Attributes:
        server_keeps_context: whether a server's message may refer to those before it.
        client_keeps_context: the same for a client's.
    """

    server_keeps_context: bool
    client_keeps_context: bool


@dataclass(frozen=True, slots=True)
class Head:
    """A request or a response, without its body.

    Attributes:
        length: bytes, the empty line included.
        status: of a response; None of a request.
        url: of a request: what it asks for, and of whom.
        upgrades: whether it asks for a WebSocket, or grants it.
        deflate: what was agreed on compression; None for a request, and where there is none.
    """

    length: int
    status: int | None
    url: str
    upgrades: bool
    deflate: Deflate | None


def may_be_head(start: bytes) -> bool:
    """Whether a stream that begins like this may begin with a request or a response."""
    return any(start.startswith(word[: len(start)]) for word in (b"GET ", b"HTTP/1."))


def read_head(buffer: bytes | bytearray, start: int, *, final: bool = False) -> Head | None:
    """The head at `start`; None if its end is not there.

    Args:
        final: its end will not come any more.

    Raises:
        ValueError: that is no head of a request or a response.
    """
    end = buffer.find(b"\r\n\r\n", start, start + MAX_HEAD_BYTES)
    if end < 0:
        if final or len(buffer) - start >= MAX_HEAD_BYTES:
            raise ValueError("no end of the HTTP header")
        return None
    request, response = REQUEST.match(buffer, start), RESPONSE.match(buffer, start)
    first = request or response
    if first is None:
        raise ValueError("neither a request nor a response")
    lines = bytes(buffer[start:end]).decode("latin-1").split("\r\n")[1:]
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
    upgrades = "websocket" in fields.get("upgrade", "").lower()
    length = end + 4 - start
    if request:
        path = request[1].decode("latin-1")
        return Head(length, None, _printable(f"{fields.get('host', '')}{path}"), upgrades, None)
    status = int(first[1])
    granted = upgrades and status == 101
    return Head(length, status, "", granted, _deflate(fields.get("sec-websocket-extensions", "")) if granted else None)


def _deflate(extensions: str) -> Deflate | None:
    for extension in extensions.split(","):
        name, *parameters = (part.strip().lower() for part in extension.split(";"))
        if name == "permessage-deflate":
            return Deflate(
                "server_no_context_takeover" not in parameters, "client_no_context_takeover" not in parameters
            )
    return None


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text[:500])
