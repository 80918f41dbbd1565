"""Opens a WebSocket with aiohttp, and explains a failure in one sentence. Asks a server for its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from vfctl.protocol.wire import MAX_MESSAGE_BYTES

CLOSE_TIMEOUT_S = 2.0
"""Seconds that a peer may take to answer our close frame."""

_REASON_BYTES = 512
"""Bytes that are read of the body of a refusal: enough for a sentence, too few to flood a terminal."""

_NOBODY_HINT = "start a server with `vfctl serve`, or check the address"


class OpenError(Exception):
    """The connection could not be opened.

    Args:
        reason: why, to be printed after "URL: ".
        hint: what to do about it.
    """

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Link:
    """One open WebSocket, with the session that owns its transport."""

    session: aiohttp.ClientSession
    socket: aiohttp.ClientWebSocketResponse[bool]

    async def close(self, code: int) -> None:
        """Do the closing handshake, then close the socket: within CLOSE_TIMEOUT_S, even if the peer keeps sending."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.socket.close(code=code)
        finally:
            await self.session.close()

    async def abort(self) -> None:
        """Close the socket without a handshake. A pending receive returns."""
        await self.session.close()


async def open_link(url: str, timeout_s: float) -> Link:
    """Open a WebSocket.

    Args:
        timeout_s: for name resolution, connection, TLS and handshake together.

    Raises:
        OpenError: refused, unreachable, too slow, or no WebSocket server.
    """
    # No compression, because V4 compresses itself and deflate needs 100 KB per connection. The session is the only
    # owner of the socket's transport, so closing it is the (public) way to abort.
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), raise_for_status=_refuse)
    try:
        async with asyncio.timeout(timeout_s):
            socket = await session.ws_connect(
                url,
                compress=0,
                max_msg_size=MAX_MESSAGE_BYTES,
                decode_text=False,
                autoclose=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            )
    except BaseException as error:
        await session.close()
        if isinstance(error, TimeoutError):
            raise OpenError(f"did not answer within {timeout_s:g} s") from None
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            nobody = isinstance(error, aiohttp.ClientConnectorError) and isinstance(
                error.os_error, ConnectionRefusedError
            )
            raise OpenError(_why(error), _NOBODY_HINT if nobody else None) from error
        raise
    return Link(session, socket)


def one_line(text: str) -> str:
    """The text of a peer for one line of a terminal: without line breaks and control characters."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


async def _refuse(response: aiohttp.ClientResponse) -> None:
    """Check the answer to a handshake. If it is not the upgrade, raise the text of the server."""
    if response.status == 101:
        return
    text = ""
    try:
        if response.content_type == "text/plain":
            body = await response.content.read(_REASON_BYTES)
            text = one_line(body.decode(errors="replace"))
    finally:
        response.close()
    said = text or one_line(response.reason or "")
    what = f"answered HTTP {response.status}" + (f", {said}" if said else "")
    raise OpenError(what if response.status >= 400 else f"{what}: it is no WebSocket")


def _why(error: BaseException) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"no host is called {error.host!r}"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted ({error.certificate_error})"
        case aiohttp.ClientSSLError():
            return f"TLS failed ({error.os_error})"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return f"nothing listens at {error.host}:{error.port}"
        case aiohttp.ClientConnectorError():
            return f"cannot be reached ({error.os_error.strerror or error.os_error})"
        case aiohttp.ServerDisconnectedError():
            return "closed the connection during the handshake"
        case aiohttp.WSServerHandshakeError():
            return f"broke the WebSocket handshake ({error.message})"
        case aiohttp.ClientResponseError():
            return "does not speak HTTP"
        case ssl.SSLError():
            return f"TLS failed ({error})"
        case ConnectionError():
            return f"broke the connection during the handshake ({error.strerror or error})"
        case _:
            return str(error) or type(error).__name__


_TIMEOUT_S: Final = 3.0
_MOST_BYTES: Final = 64 * 1024
_MOST_CHARACTERS: Final = 200


async def server_name(url: str) -> str | None:
    """Return name and version of the server behind a WebSocket URL, from its `/healthz` or its `Server` header.

    None if it has neither.
    """
    parts = urlsplit(url)
    scheme = "https" if parts.scheme == "wss" else "http"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session,
            session.get(f"{scheme}://{parts.netloc}/healthz", allow_redirects=False) as response,
        ):
            header = response.headers.get("Server")
            health: Any = json.loads(await response.content.read(_MOST_BYTES)) if response.ok else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
    if isinstance(health, dict) and isinstance(health.get("name"), str):
        return f"{health['name']} {health.get('version', '')}".strip()[:_MOST_CHARACTERS]
    return header[:_MOST_CHARACTERS] if header else None
