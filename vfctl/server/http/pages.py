"""The viewer's page and its files, served from the package."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from vfctl.stream import Encoding

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

HEADERS: Final = {
    "Cache-Control": "no-cache",  # revalidated each time, so that browsers notice an update of vfctl
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every response. Nothing is loaded from other origins or run inline, and no page may frame this one."""


class ViewerPages:
    """Answers requests for the viewer. It knows only the names of existing files, so no path can leave the package.

    Args:
        limit: encodings that need more bandwidth are not served. A page whose URL asks for one of them, or for none, is
            redirected to this encoding: its connection would be refused, and browsers do not tell a page why.
    """

    def __init__(self, limit: Encoding = Encoding.RAW) -> None:
        self._limit = limit
        folder = resources.files("vfctl").joinpath("viewer")
        self._files = {file.name: file for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes `GET /` and `GET /viewer/NAME`."""
        router.add_get("/", self._page)
        router.add_get("/viewer/{name}", self._file)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if self._limit is not Encoding.RAW and request.query.get("encoding") not in self._limit.allowed:
            query = urlencode({**request.query, "encoding": self._limit.value})
            return web.Response(status=302, headers=HEADERS | {"Location": f"?{query}"})  # relative, for proxies
        return self._respond(request, "index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._respond(request, request.match_info["name"])

    def _respond(self, request: web.Request, name: str) -> web.StreamResponse:
        if name not in self._files:
            return web.Response(status=404, text=f"the viewer has no file {name!r}\n")
        content = self._files[name].read_bytes()
        tag = hashlib.sha256(content).hexdigest()[:16]
        headers = HEADERS | {"ETag": f'"{tag}"'}
        if not_modified(request, tag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, headers=headers | {"Content-Type": _TYPES[name.rpartition(".")[2]]})


def not_modified(request: web.Request, tag: str) -> bool:
    """Whether the client already has the body with this ETag (RFC 9110, 13.1.2)."""
    return any(known.value in (tag, "*") for known in request.if_none_match or ())
