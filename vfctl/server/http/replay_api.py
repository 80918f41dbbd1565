"""A replay over HTTP: `GET /replay` shows where it is, `PATCH /replay` seeks, pauses, or changes its speed.

As for the physics, a gateway keeps nothing of it, so all gateways always say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from vfctl.server.gateway.bus_requests import ANSWER_TIMEOUT_S, Inquiry
from vfctl.server.http.physics_api import why_not
from vfctl.server.options import Admin

SCHEMA: Final = "vfctl.replay/1"

_EXAMPLE: Final = """such as {"position_s": 12.5, "speed": 2, "paused": false}"""


class ReplayDesk:
    """Answers requests about the replay.

    Args:
        inquiry: takes questions over the bus.
        admin: who may change something.
    """

    def __init__(self, inquiry: Inquiry, admin: Admin) -> None:
        self._inquiry = inquiry
        self._admin = admin

    async def show(self, _: web.Request) -> web.Response:
        """`GET /replay`."""
        return await self._respond({})

    async def change(self, request: web.Request) -> web.Response:
        """`PATCH /replay`: all changes or, if one of them cannot be, none."""
        refusal = why_not(request, self._admin, "its replay")
        if refusal is not None:
            return _refused(403, refusal, "vfctl replay --admin anyone lets everybody who reaches the port")
        try:
            changes = json.loads(await request.read())
        except (ValueError, RecursionError) as error:
            return _refused(400, f"the body is not JSON: {error}", _EXAMPLE)
        if not isinstance(changes, dict):
            return _refused(400, "the body is not a JSON object", _EXAMPLE)
        return await self._respond(changes)

    async def _respond(self, changes: Mapping[str, Any]) -> web.Response:
        try:
            answer = await self._inquiry.ask("replay", changes)
        except TimeoutError:
            return _refused(503, f"the replay has not answered within {ANSWER_TIMEOUT_S:g} s", None)
        if "error" in answer:
            return _refused(400 if answer.get("wrong") else 409, answer["error"], answer["hint"])
        return web.json_response({"schema": SCHEMA, **answer})


def _refused(status: int, error: str, hint: str | None) -> web.Response:
    return web.json_response({"schema": SCHEMA, "error": error, "hint": hint}, status=status)
