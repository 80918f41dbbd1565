"""The client of a V4 server: the connection life cycle (sans-IO), the client library, recording and playback.

Load generators import `vfctl.client.lifecycle` and `.url`, and must stay small. So aiohttp is loaded only when
`connect` is used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfctl.client.connection import Connection, RoundTrip, connect

__all__ = ["Connection", "RoundTrip", "connect"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from vfctl.client import connection

        return getattr(connection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
