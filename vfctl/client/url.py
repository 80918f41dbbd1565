"""The addresses of V4 servers: what a connection speaks is chosen in its URL."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from vfctl.errors import UsageError

ENCODINGS: Final = ("raw", "lz4", "compact")
"""How positions may travel."""

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
    """The WebSocket URL that asks for these options; what `url` itself already sets stays as it is.

    `http` becomes `ws`, `https` becomes `wss`, and a URL without any path gets `/ws`.

    Args:
        encoding: one of ENCODINGS; None leaves it to the server (raw).
        timed: sequence, time stamp and interval behind each state.
        metadata: labels, kinds, depths and clusters in FullGraphs.
        voice: other clients' speech.
        notices: errors, selections and the like.

    Raises:
        UsageError: not an address that a WebSocket can be opened to, or an unknown encoding.
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
    """What a server is asked for by this URL, or by its path and query alone; raw if it does not say."""
    return parse_qs(urlsplit(url).query).get("encoding", ["raw"])[0]


def shown(url: str) -> str:
    """The URL for people and files: without a user name and password."""
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
