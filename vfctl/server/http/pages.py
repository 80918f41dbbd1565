"""The viewer's page and its files, as they are in the package."""

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
    "Cache-Control": "no-cache",  # asked for again each time, and answered 304: an update of vfctl is seen at once
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer: nothing is loaded from elsewhere or run inline, and no other page may frame this one."""


class ViewerPages:
    """Answers requests for the page. Only names of files that are there are known, so no path leads out.

    Args:
        limit: encodings that are served. A page whose URL asks for another, or for none, is opened with this one: its
            connection would be refused, and a browser does not tell a page why.
    """

    def __init__(self, limit: Encoding = Encoding.RAW) -> None:
        self._limit = limit
        folder = resources.files("vfctl").joinpath("viewer")
        self._files = {file.name: file for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """`GET /` and `GET /viewer/NAME`."""
        router.add_get("/", self._page)
        router.add_get("/viewer/{name}", self._file)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if self._limit is not Encoding.RAW and request.query.get("encoding") not in self._limit.allowed:
            query = urlencode({**request.query, "encoding": self._limit.value})
            return web.Response(status=302, headers=HEADERS | {"Location": f"?{query}"})  # behind any path of a proxy
        return self._respond(request, "index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._respond(request, request.match_info["name"])

    def _respond(self, request: web.Request, name: str) -> web.StreamResponse:
        if name not in self._files:
            return web.Response(status=404, text=f"the viewer has no {name!r}\n")
        content = self._files[name].read_bytes()
        tag = hashlib.sha256(content).hexdigest()[:16]
        headers = HEADERS | {"ETag": f'"{tag}"'}
        if any(known.value in (tag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, headers=headers | {"Content-Type": _TYPES[name.rpartition(".")[2]]})
