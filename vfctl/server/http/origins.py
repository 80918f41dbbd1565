"""Which web pages may use this server.

A browser lets any page open a WebSocket to any address, localhost included, and sends only the page's `Origin`. A page
can also make its own name resolve to 127.0.0.1 after it is loaded (DNS rebinding). It then has the same origin as this
server, under a name that the server never had. Programs send no Origin, and these checks do not apply to them.
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
"""The Origin of pages from files and sandboxes."""

MAX_WARNINGS: Final = 16
"""Number of different refused origins that are logged."""

_METRICS_PATHS: Final = ("/healthz", "/metrics")
"""Answered under any host name. Probes and Prometheus may use their own, and these responses hold no graph."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def check_origin(text: str) -> str:
    """An allowed origin in the form that browsers send: `https://example.org`, without the default port.

    Raises:
        UsageError: `text` is not an origin.
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
            hint="give scheme, name and port, such as https://example.org or http://localhost:3000",
        )
    return _origin(parts.scheme, parts.hostname, port)


def is_loopback(name: str) -> bool:
    """Whether a host name or address is a loopback one."""
    address = _address(name)
    if address is None:
        return name.lower() == "localhost" or name.lower().endswith(".localhost")  # RFC 6761, 6.3
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def host_name(host: str) -> str:
    """A Host header without its port, and an IPv6 address without its brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


class Origins:
    """Decides which pages may use the server.

    Args:
        allowed: origins besides the server's own, as `check_origin` returns them.
        own_names: names of this machine, besides loopback names and addresses.
    """

    def __init__(self, allowed: Sequence[str], own_names: Sequence[str] = ()) -> None:
        self._allowed = frozenset(allowed)
        self._names = {name.lower() for name in own_names if name}
        self._names |= {urlsplit(origin).hostname or "" for origin in allowed if origin not in (ANY, NULL)}
        self._logged: set[str] = set()

    def refusal_reason(
        self, origin: str | None, host: str, *, on_loopback: bool, metrics_only: bool = False
    ) -> str | None:
        """Why a request is refused; None if it is allowed.

        Args:
            origin: its Origin header.
            host: its Host header.
            on_loopback: whether it came to a loopback address of this machine.
            metrics_only: its path is one of those that hold no graph.
        """
        if ANY in self._allowed:
            return None
        if origin is not None:
            if origin in self._allowed:
                return None
            if not _is_same(origin, host):
                return f"pages from {_short(origin)} may not use this server"
        if on_loopback and not metrics_only and not self._is_own(host_name(host)):
            return f"{_short(host)} is not a name of this server"
        return None

    def allows(self, origin: str | None) -> bool:
        """Whether scripts of another origin may read HTTP responses."""
        return origin is not None and (origin in self._allowed or ANY in self._allowed)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """aiohttp middleware: refuse requests with 403, and add the headers for other origins."""
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        # A browser's WebSocket always has an Origin, and all its requests have a Host. Without them it is a program.
        if origin is None and (host is None or request.path == "/ws"):
            return await handler(request)
        metrics_only = request.path in _METRICS_PATHS
        refusal = self.refusal_reason(origin, host or "", on_loopback=_on_loopback(request), metrics_only=metrics_only)
        if refusal is not None:
            self._log_once(origin or f"http://{host}", refusal)
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
        # An address cannot be rebound: its pages were loaded from there.
        return is_loopback(name) or name.lower() in self._names or _address(name) is not None

    def _log_once(self, origin: str, refusal: str) -> None:
        if origin not in self._logged and len(self._logged) < MAX_WARNINGS:
            self._logged.add(origin)
            log.warning("%s; --allow-origin %s allows them", refusal, _short(origin))


_HINT: Final = "vfctl serve --allow-origin ORIGIN allows pages of that origin"


def own_names(host: str) -> list[str]:
    """Names of this machine: its host name, and the name that the server listens on."""
    return [socket.gethostname(), host]


def _origin(scheme: str, name: str, port: int | None) -> str:
    name = f"[{name}]" if ":" in name else name.lower()
    return f"{scheme}://{name}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{name}:{port}"


def _is_same(origin: str, host: str) -> bool:
    """Whether a page of this origin was loaded from this host. The scheme may differ: TLS may end at a proxy."""
    scheme, _, netloc = origin.lower().partition("://")
    default = f":{_DEFAULT_PORTS.get(scheme, '')}"
    return bool(netloc) and netloc.removesuffix(default) == host.lower().removesuffix(default)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _on_loopback(request: web.Request) -> bool:
    sockname = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return isinstance(sockname, tuple) and is_loopback(str(sockname[0]))


def _short(text: str) -> str:
    """Untrusted text, shortened and without control characters, for a log line."""
    return "".join(each if each.isprintable() and each.isascii() else "?" for each in text)[:100]
