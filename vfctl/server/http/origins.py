"""Which web pages may talk to this server.

A browser lets any page open a WebSocket to any address, localhost included, and tells the server only whose page it is
(`Origin`). And a page can have its own name lead to 127.0.0.1 once it is loaded (DNS rebinding): then it is of the same
origin as this server, by a name that the server never had. Programs say no Origin; nothing here is meant for them.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from vfctl.errors import UsageError

log = logging.getLogger(__name__)

ANY: Final = "*"
NULL: Final = "null"
"""What a browser says for pages from files and from sandboxes."""

MAX_WARNINGS: Final = 16
"""So many different origins are told to the operator when they are refused."""

_COUNTS_ONLY: Final = ("/healthz", "/metrics")
"""Answered under any name: probes and Prometheus have their own for this machine, and there is no graph in it."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def check_origin(text: str) -> str:
    """An entry of the allowed origins in the form in which browsers say it: `https://example.org`, no default port.

    Raises:
        UsageError: it is no origin.
    """
    if text in (ANY, NULL):
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise UsageError(
            f"{text!r} is not an origin",
            hint="scheme, name and port, such as https://example.org or http://localhost:3000",
        )
    return _origin(parts.scheme, parts.hostname, port)


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine, for this machine alone."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name.lower() == "localhost" or name.lower().endswith(".localhost")  # RFC 6761, 6.3
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def host_name(host: str) -> str:
    """A Host header without its port; an IPv6 address without its brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


class Origins:
    """Says whose pages may in.

    Args:
        allowed: origins besides the server's own, as `check_origin` gives them.
        own_names: names that the machine is known by, besides loopback names and addresses.
    """

    def __init__(self, allowed: Sequence[str], own_names: Sequence[str] = ()) -> None:
        self._allowed = frozenset(allowed)
        self._names = {name.lower() for name in own_names if name}
        self._names |= {urlsplit(origin).hostname or "" for origin in allowed if origin not in (ANY, NULL)}
        self._told: set[str] = set()

    def why_not(self, origin: str | None, host: str, *, on_loopback: bool, counts_only: bool = False) -> str | None:
        """Why a request is refused; None if it is not.

        Args:
            origin: its Origin header.
            host: its Host header.
            on_loopback: whether it came to a loopback address of this machine.
            counts_only: it asks for nothing that is anybody's secret.
        """
        if ANY in self._allowed:
            return None
        if origin is not None:
            if origin in self._allowed:
                return None
            if not _is_same(origin, host):
                return f"pages of {_short(origin)} may not use this server"
        if on_loopback and not counts_only and not self._is_own(host_name(host)):
            return f"this server is not called {_short(host)}"
        return None

    def allows(self, origin: str | None) -> bool:
        """Whether another origin's scripts may read what the server says over HTTP."""
        return origin is not None and (origin in self._allowed or ANY in self._allowed)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """aiohttp middleware."""
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        # A browser's WebSocket always has an Origin, and all that it asks has a Host: what has none is a program.
        if origin is None and (host is None or request.path == "/ws"):
            return await handler(request)
        counts_only = request.path in _COUNTS_ONLY
        refusal = self.why_not(origin, host or "", on_loopback=_on_loopback(request), counts_only=counts_only)
        if refusal is not None:
            self._tell(origin or f"http://{host}", refusal)
            return web.json_response({"error": refusal, "hint": _HINT}, status=403)
        response = await handler(request)
        if not response.prepared:
            response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            if request.method == "GET" and self.allows(origin):
                response.headers["Access-Control-Allow-Origin"] = str(origin)
                response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                response.headers["Vary"] = "Origin"
        return response

    def _is_own(self, name: str) -> bool:
        return is_loopback(name) or name.lower() in self._names or _is_address(name)

    def _tell(self, origin: str, refusal: str) -> None:
        if origin not in self._told and len(self._told) < MAX_WARNINGS:
            self._told.add(origin)
            log.warning("%s; --allow-origin %s would let them", refusal, _short(origin))


_HINT: Final = "vfctl serve --allow-origin ORIGIN lets pages of that origin use it"


def own_names(host: str) -> list[str]:
    """What this machine is called: its host name, and the name that a server was told to listen on."""
    return [socket.gethostname(), host]


def _origin(scheme: str, name: str, port: int | None) -> str:
    name = f"[{name}]" if ":" in name else name.lower()
    return f"{scheme}://{name}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{name}:{port}"


def _is_same(origin: str, host: str) -> bool:
    """Whether a page of this origin was loaded from this host. Not by which scheme: TLS may end at a proxy."""
    scheme, _, netloc = origin.lower().partition("://")
    default = f":{_DEFAULT_PORTS.get(scheme, '')}"
    return bool(netloc) and netloc.removesuffix(default) == host.lower().removesuffix(default)


def _is_address(name: str) -> bool:
    """An address cannot be rebound: the page that says it was loaded from there."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _on_loopback(request: web.Request) -> bool:
    sockname = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return isinstance(sockname, tuple) and is_loopback(str(sockname[0]))


def _short(text: str) -> str:
    """What a stranger has sent, for a line of a log."""
    return "".join(each if each.isprintable() and each.isascii() else "?" for each in text)[:100]
