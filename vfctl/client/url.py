"""URLs of V4 servers. The options of a connection are in its URL."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from vfctl.errors import UsageError

ENCODINGS: Final = ("raw", "lz4", "compact")
"""Encodings of positions."""

DEFAULT_PATH: Final = "/ws"

_SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_HINT: Final = "write it like ws://localhost:8080/ws"


def with_options(
    url: str,
    *,
    encoding: str | None = None,
    timed: bool = False,
    metadata: bool = False,
    voice: bool = False,
    notices: bool = False,
) -> str:
    """Return the WebSocket URL with these options. Options that `url` has already are kept.

    `http` becomes `ws`, `https` becomes `wss`, and a URL without any path gets `/ws`.

    Args:
        encoding: one of ENCODINGS; None is the server's default (raw).
        timed: add sequence, timestamp and interval to each state.
        metadata: add labels, kinds, depths and clusters to FullGraphs.
        voice: receive the voice of other clients.
        notices: receive errors and selections.

    Raises:
        UsageError: not the address of a WebSocket, or an unknown encoding.
    """
    if encoding is not None and encoding not in ENCODINGS:
        raise UsageError(f"unknown encoding {encoding!r}; the encodings are {', '.join(ENCODINGS)}")
    parts = _split(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    there = {name for name, _ in query}
    switches = {"timed": timed, "metadata": metadata, "voice": voice, "notices": notices}
    asked = {"encoding": encoding} | {name: "1" for name, on in switches.items() if on}
    added = [(name, value) for name, value in asked.items() if value is not None and name not in there]
    text = "&".join(filter(None, (parts.query, urlencode(added))))
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path or DEFAULT_PATH, text, ""))


def encoding_of(url: str) -> str:
    """The encoding in a URL, or in its path and query alone; the default is raw."""
    return parse_qs(urlsplit(url).query).get("encoding", ["raw"])[0]


def shown(url: str) -> str:
    """The URL without user name and password, for messages and files."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _split(url: str) -> SplitResult:
    if not url.isprintable() or " " in url:
        raise UsageError(f"{url!r} is not an address: it holds blanks or control characters", hint=_HINT)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is not an address: {error}", hint=_HINT) from None
    if "://" not in url:
        raise UsageError(f"{url!r} has no scheme", hint=f"perhaps ws://{url.lstrip('/')}" if url else _HINT)
    if parts.scheme not in _SCHEMES:
        raise UsageError(f"{url!r} is not a WebSocket address; the schemes are {', '.join(_SCHEMES)}", hint=_HINT)
    if not parts.hostname or port == 0:
        raise UsageError(f"{url!r} names no {'host' if not parts.hostname else 'port that can be connected to'}")
    if "#" in url:
        raise UsageError(f"{url!r} has a fragment (#…), which WebSocket addresses cannot have")
    return parts
