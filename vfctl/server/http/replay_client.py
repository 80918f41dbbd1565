"""The remote control of a replay: `GET` and `PATCH /replay` of a server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final

from vfctl.errors import PeerError, UsageError

TIMEOUT_S: Final = 6.0
"""A little longer than a gateway waits for its source."""


class ReplayRemote:
    """Asks and changes one server's replay, over a connection of its own for each request.

    Args:
        host, port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self._port = port

    def ask(self) -> dict[str, Any]:
        """How it is played now; see `ReplaySource.control`.

        Raises:
            PeerError: the server does not answer.
        """
        return self._request("GET", None)

    def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change it, and say how it is now.

        Raises:
            UsageError: the server refuses, and says why.
            PeerError: it does not answer.
        """
        return self._request("PATCH", json.dumps(dict(changes)))

    def _request(self, method: str, body: str | None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request(method, "/replay", body)
            answer: Any = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PeerError(f"the server does not answer about its replay: {error}") from None
        finally:
            connection.close()
        if not isinstance(answer, dict) or "error" in answer:
            raise UsageError(str(answer["error"] if isinstance(answer, dict) else answer))
        return answer
