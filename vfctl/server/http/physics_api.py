"""The physics over HTTP: `GET /physics` returns the parameters, `PATCH /physics` changes them.

A gateway stores nothing. It asks the source over the bus each time, so all gateways always return the same.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiohttp import web

from vfctl.errors import UsageError
from vfctl.physics import PARAMETERS, PhysicsParameters
from vfctl.server.gateway.bus_client import REPLY_TIMEOUT_S, BusRequestClient
from vfctl.server.http.origins import host_name, is_loopback
from vfctl.server.options import Admin

MAX_BODY_BYTES: Final = 64 * 1024

_PROXY_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class SourceApi(ABC):
    """`GET` and `PATCH` of the source's settings, as JSON.

    Args:
        requests: sends requests to the source.
        admin: who may change settings.

    Attributes:
        target: `physics` or `replay`: the path, the key on the bus, and the word in messages.
        command: the command that starts such a server.
        example: a valid body, for hints.
    """

    target: ClassVar[str]
    command: ClassVar[str]
    example: ClassVar[str]

    def __init__(self, requests: BusRequestClient, admin: Admin) -> None:
        self._requests = requests
        self._admin = admin

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get(f"/{self.target}", self.get)
        router.add_patch(f"/{self.target}", self.patch)

    async def get(self, _: web.Request) -> web.Response:
        """The present settings."""
        return await self._respond({})

    async def patch(self, request: web.Request) -> web.Response:
        """Apply all changes of the JSON body, or none if one of them is invalid."""
        refusal = refusal_reason(request, self._admin, self.target)
        if refusal is not None:
            return self._refuse(403, refusal, f"vfctl {self.command} --admin anyone allows it for every client")
        try:
            changes = json.loads(await request.read())
        except (ValueError, RecursionError) as error:
            return self._refuse(400, f"the body is not JSON: {error}", self.example)
        if not isinstance(changes, dict):
            return self._refuse(400, "the body is not a JSON object", self.example)
        return self._invalid(changes) or await self._respond(changes)

    def _invalid(self, changes: Mapping[str, Any]) -> web.Response | None:
        """The answer to changes that the gateway itself recognizes as invalid."""
        return None

    @abstractmethod
    def _document(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        """What clients get of the source's reply."""

    async def _respond(self, changes: Mapping[str, Any]) -> web.Response:
        try:
            reply = await self._requests.request(self.target, changes)
        except TimeoutError:
            error = f"the {self.target} has not answered within {REPLY_TIMEOUT_S:g} s"
            return self._refuse(503, error, f"a later GET /{self.target} shows whether the change was applied")
        if "error" in reply:
            return self._refuse(400 if reply.get("wrong") else 409, reply["error"], reply["hint"])
        return web.json_response({"schema": self._schema, **self._document(reply)})

    def _refuse(self, status: int, error: str, hint: str | None, **more: Any) -> web.Response:
        return web.json_response({"schema": self._schema, "error": error, "hint": hint, **more}, status=status)

    @property
    def _schema(self) -> str:
        return f"vfctl.{self.target}/1"


class PhysicsApi(SourceApi):
    """`/physics`: the parameters of the physics with their ranges."""

    target = "physics"
    command = "serve"
    example = """such as {"spring_k": 120, "damping": 6}"""

    def _invalid(self, changes: Mapping[str, Any]) -> web.Response | None:
        for name, value in changes.items():
            try:
                PhysicsParameters().validated(**{name: value})
            except UsageError as error:
                parameter = {"parameter": name} | _range_of(name) if name in PARAMETERS else {}
                return self._refuse(400, error.message, error.hint, **parameter)
        return None

    def _document(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        values = reply["parameters"]
        parameters = {name: {"value": values[name]} | _range_of(name) for name in PARAMETERS}
        return {"device": reply["device"], "parameters": parameters}


def refusal_reason(request: web.Request, admin: Admin, target: str) -> str | None:
    """Why this request may not change settings; None if it may.

    `Admin.LOCAL` checks the peer's address. A proxy on this machine connects from here too, so requests that came
    through one are refused. A web page whose name was made to resolve to this machine (DNS rebinding) still sends that
    name as the Host.
    """
    if admin is Admin.ANYONE:
        return None
    if admin is Admin.NOBODY:
        return f"this server allows nobody to change its {target}"
    if not is_loopback(request.remote or "") or any(header in request.headers for header in _PROXY_HEADERS):
        return f"this server allows changes of its {target} from its own machine only"
    if not is_loopback(host_name(request.host)):
        return f"this server allows changes of its {target} as localhost only, not as {request.host}"
    return None


def _range_of(name: str) -> dict[str, Any]:
    keys = ("unit", "minimum", "maximum", "default", "description")
    return {key: getattr(PARAMETERS[name], key) for key in keys}
