"""What is tested: who answers at a URL, and where simulated clients connect to."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from vfctl.client.url import with_options
from vfctl.errors import PeerError, UsageError
from vfctl.loadtest.generator.plan import Target

DEFAULT_URL: Final = "ws://127.0.0.1:8765/ws"
PROBE_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Who answers at a URL.

    Attributes:
        is_vfctl: /healthz says so.
        name: for people: `vfctl 0.1.0, 316 nodes`, or that it is another server.
    """

    is_vfctl: bool
    name: str


def resolve(url: str, encoding: str | None) -> tuple[str, Target]:
    """The URL that is really used (timed=1 and the encoding added), and where it leads.

    Raises:
        UsageError: not a ws:// URL.
        PeerError: the host name has no address.
    """
    full = with_options(url, encoding=encoding, timed=True)
    parts = urlsplit(full)
    if parts.scheme != "ws":
        raise UsageError(f"{url}: the load generator speaks ws:// only, not TLS", hint="test behind the TLS proxy")
    port = parts.port or 80
    try:
        family, _, _, _, address = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise PeerError(f"{url}: {error.strerror}") from None
    resource = parts.path + (f"?{parts.query}" if parts.query else "")
    return full, Target(family, tuple(address), parts.netloc.rpartition("@")[2], resource)


def identify(url: str) -> Peer:
    """Ask who answers where this WebSocket URL leads.

    Raises:
        PeerError: nobody listens there, or nobody answers in time.
    """
    parts = urlsplit(with_options(url))
    scheme = "https" if parts.scheme == "wss" else "http"
    healthz = f"{scheme}://{parts.netloc.rpartition('@')[2]}/healthz"
    # The environment's proxies are not asked: what is measured is the server, not the way out of the house.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(healthz, timeout=PROBE_TIMEOUT_S) as response:
            health: Any = json.loads(response.read(65536))
    except urllib.error.HTTPError:
        return Peer(False, "a server that is not vfctl")
    except urllib.error.URLError as error:
        raise PeerError(
            f"nothing answers at {url}: {_cause(error)}", hint="start one with `vfctl serve`, or leave the URL out"
        ) from None
    except TimeoutError:
        raise PeerError(f"{url} takes the connection but does not answer within {PROBE_TIMEOUT_S:g} s") from None
    except (ValueError, OSError):
        return Peer(False, "a server that is not vfctl")
    if not isinstance(health, dict) or health.get("name") != "vfctl":
        return Peer(False, "a server that is not vfctl")
    return Peer(True, f"vfctl {health.get('version')}, {health.get('nodes')} nodes")


def _cause(error: urllib.error.URLError) -> str:
    reason = error.reason
    return (reason.strerror or str(reason)).lower() if isinstance(reason, OSError) else str(reason)
