"""Who answers at a URL."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

_TIMEOUT_S: Final = 3.0
_MOST_BYTES: Final = 64 * 1024
_MOST_CHARACTERS: Final = 200


async def server_name(url: str) -> str | None:
    """Name and version of the server behind a WebSocket URL, as its `/healthz` or its `Server` header has them; None
    if it does not say.
    """
    parts = urlsplit(url)
    scheme = "https" if parts.scheme == "wss" else "http"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session,
            session.get(f"{scheme}://{parts.netloc}/healthz", allow_redirects=False) as response,
        ):
            header = response.headers.get("Server")
            health: Any = json.loads(await response.content.read(_MOST_BYTES)) if response.ok else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
    if isinstance(health, dict) and isinstance(health.get("name"), str):
        return f"{health['name']} {health.get('version', '')}".strip()[:_MOST_CHARACTERS]
    return header[:_MOST_CHARACTERS] if header else None
