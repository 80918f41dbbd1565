"""The opening handshake of RFC 6455 as a lean client speaks it: one request, no extensions, the answer checked."""

from __future__ import annotations

import base64
import os
from typing import Final

from vfctl.errors import ProtocolError
from vfctl.protocol.websocket import accept_key

MAX_RESPONSE_BYTES: Final = 16 * 1024
"""A response header that is longer is no WebSocket server's."""

_END: Final = b"\r\n\r\n"

_REASON_CHARACTERS: Final = 200
"""How much is told of why a server refuses: one line."""


def new_key() -> str:
    """A fresh Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16)).decode()


def request(host: str, resource: str, key: str) -> bytes:
    """The upgrade request. No Sec-WebSocket-Extensions: per-message deflate would cost 50–300 KB a connection."""
    return (
        f"GET {resource} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nUser-Agent: vfctl\r\n\r\n"
    ).encode()


def check_response(response: bytes, key: str) -> int | None:
    """The length of the response header, or None if it is not complete yet; what follows are frames.

    Raises:
        ProtocolError: the server has answered something else than an upgrade of this request.
    """
    end = response.find(_END)
    if end < 0:
        if len(response) > MAX_RESPONSE_BYTES:
            raise ProtocolError("a response header without an end", offset=len(response))
        return None
    status, *lines = response[:end].decode("latin-1").split("\r\n")
    parts = status.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/"):
        raise ProtocolError("not an HTTP response", offset=0)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if parts[1] != "101":
        what = " ".join(parts[1:]).rstrip()
        said = _reason(headers.get("content-type", ""), response[end + len(_END) :])
        raise ProtocolError(f"answered HTTP {what}" + (f", {said}" if said else ""), offset=0)
    if headers.get("sec-websocket-accept") != accept_key(key):
        raise ProtocolError("a Sec-WebSocket-Accept that does not belong to our key", offset=0)
    if "sec-websocket-extensions" in headers:
        raise ProtocolError("an extension that was not asked for", offset=0)
    return end + len(_END)


def _reason(content_type: str, body: bytes) -> str:
    """The first line of a refusal, as far as it has come along with its header; empty if it is no plain text."""
    if content_type.partition(";")[0].strip().lower() != "text/plain":
        return ""
    line = body.partition(b"\n")[0].decode(errors="replace")
    return "".join(letter for letter in line if letter.isprintable())[:_REASON_CHARACTERS].strip()
