"""A replay over HTTP, server and client: `GET /replay` returns its position, `PATCH /replay` seeks or pauses.

As with the physics, a gateway stores nothing, so all gateways always return the same.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final

from vfctl.errors import PeerError, UsageError
from vfctl.server.http.physics_api import SourceApi

CLIENT_TIMEOUT_S: Final = 6.0
"""A little longer than a gateway waits for its source."""


class ReplayApi(SourceApi):
    """`/replay`: position, speed and pause of the replay; see `ReplaySource.control`."""

    target = "replay"
    command = "replay"
    example = """such as {"position_s": 12.5, "speed": 2, "paused": false}"""

    def _document(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        return dict(reply)


class ReplayClient:
    """Reads and changes the replay of a server. Each request has its own connection.

    Args:
        host: of the server.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self._port = port

    def get(self) -> dict[str, Any]:
        """The present settings; see `ReplaySource.control`.

        Raises:
            PeerError: the server does not answer.
        """
        return self._request("GET", None)

    def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings by name, and return all of them.

        Raises:
            UsageError: the server refuses the change.
            PeerError: the server does not answer.
        """
        return self._request("PATCH", json.dumps(dict(changes)))

    def _request(self, method: str, body: str | None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CLIENT_TIMEOUT_S)
        try:
            connection.request(method, "/replay", body)
            reply: Any = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PeerError(
                f"{method} /replay at {self._host}:{self._port}: the server does not answer: {error}"
            ) from None
        finally:
            connection.close()
        if not isinstance(reply, dict) or "error" in reply:
            raise UsageError(str(reply["error"] if isinstance(reply, dict) else reply))
        return reply
