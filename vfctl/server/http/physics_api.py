"""The physics over HTTP: `GET /physics` shows how it is set, `PATCH /physics` changes it.

A gateway keeps nothing of it. It asks the source over the bus each time, so all gateways always say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from vfctl.errors import UsageError
from vfctl.physics import PARAMETERS, PhysicsParameters
from vfctl.server.gateway.bus_requests import ANSWER_TIMEOUT_S, Inquiry
from vfctl.server.http.origins import host_name, is_loopback
from vfctl.server.options import Admin

SCHEMA: Final = "vfctl.physics/1"

MAX_BODY_BYTES: Final = 64 * 1024

_PROXY_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class PhysicsDesk:
    """Takes questions to the source, and answers back.

    Args:
        inquiry: takes them over the bus.
        admin: who may change something.
    """

    def __init__(self, inquiry: Inquiry, admin: Admin) -> None:
        self.admin = admin
        self._inquiry = inquiry

    async def show(self, _: web.Request) -> web.Response:
        """`GET /physics`."""
        return await self._respond({})

    async def change(self, request: web.Request) -> web.Response:
        """`PATCH /physics`: all changes or, if one of them cannot be, none."""
        refusal = why_not(request, self.admin, "its physics")
        if refusal is not None:
            return _refused(403, refusal, "vfctl serve --admin anyone lets everybody who reaches the port")
        try:
            changes = json.loads(await request.read())
        except (ValueError, RecursionError) as error:
            return _refused(400, f"the body is not JSON: {error}", _EXAMPLE)
        if not isinstance(changes, dict):
            return _refused(400, "the body is not a JSON object of parameters by name", _EXAMPLE)
        for name, value in changes.items():
            try:
                PhysicsParameters().validated(**{name: value})
            except UsageError as error:
                at_fault = {"parameter": name} | _range_of(name) if name in PARAMETERS else {}
                return _refused(400, error.message, error.hint, **at_fault)
        return await self._respond(changes)

    async def _respond(self, changes: Mapping[str, float]) -> web.Response:
        try:
            answer = await self._inquiry.ask("physics", changes)
        except TimeoutError:
            error = f"the physics has not answered within {ANSWER_TIMEOUT_S:g} s"
            return _refused(503, error, "GET /physics tells later whether it has changed")
        if "error" in answer:
            return _refused(409, answer["error"], answer["hint"])
        values = answer["parameters"]
        parameters = {name: {"value": values[name]} | _range_of(name) for name in PARAMETERS}
        return web.json_response({"schema": SCHEMA, "device": answer["device"], "parameters": parameters})


_EXAMPLE: Final = """such as {"spring_k": 120, "damping": 6}"""


def why_not(request: web.Request, admin: Admin, what: str = "its physics") -> str | None:
    """Why this request may not change `what`; None if it may.

    `local` looks at who has connected. A proxy on this machine connects from here too, so what comes through one is
    refused; and a web page whose name was made to lead here (DNS rebinding) still says that name as the Host.
    """
    if admin is Admin.ANYONE:
        return None
    if admin is Admin.NOBODY:
        return f"this server lets nobody change {what}"
    if not is_loopback(request.remote or "") or any(header in request.headers for header in _PROXY_HEADERS):
        return f"this server lets {what} be changed from its own machine only"
    if not is_loopback(host_name(request.host)):
        return f"this server lets {what} be changed as localhost only, not as {request.host}"
    return None


def _range_of(name: str) -> dict[str, Any]:
    info = PARAMETERS[name]
    return {
        "unit": info.unit,
        "minimum": info.minimum,
        "maximum": info.maximum,
        "default": info.default,
        "description": info.description,
    }


def _refused(status: int, error: str, hint: str | None, **more: Any) -> web.Response:
    return web.json_response({"schema": SCHEMA, "error": error, "hint": hint, **more}, status=status)
