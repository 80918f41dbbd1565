"""Whose web pages may use a server: the rule itself, and a gateway on a real port that keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from vfctl.errors import UsageError
from vfctl.graph import Graph
from vfctl.server.http.origins import Origins, check_origin
from vfctl.server.options import ServerOptions

if TYPE_CHECKING:
    from tests.server.conftest import Stage

HERE = "127.0.0.1:8765"


@pytest.mark.parametrize(
    ("origin", "host", "on_loopback", "allowed"),
    [
        (None, HERE, True, True),
        (None, "localhost:8765", True, True),
        (None, "[::1]:8765", True, True),
        (None, "mybox:8765", True, True),  # Debian has its own name lead to 127.0.1.1
        (None, "evil.example:8765", True, False),  # rebound
        (None, "127.0.0.1.evil.example", True, False),
        (None, "", True, False),
        (None, "server.lan:8765", False, True),
        ("http://127.0.0.1:8765", HERE, True, True),
        ("http://localhost:8765", "localhost:8765", True, True),
        ("http://localhost:8765", HERE, True, False),
        ("http://localhost:3000", "localhost:8765", True, False),  # another server of this machine
        ("http://127.0.0.1", HERE, True, False),
        ("https://evil.example", HERE, True, False),
        ("http://evil.example:8765", "evil.example:8765", True, False),  # rebound: of the same origin
        ("null", HERE, True, False),
        ("null", "null", True, False),
        ("", "", True, False),
        ("http://", "", False, False),
        ("http://server.lan:8765", "server.lan:8765", False, True),
        ("https://graphs.example", "graphs.example", False, True),  # TLS ends at a proxy
        ("https://graphs.example", "graphs.example:443", False, True),
        ("https://graphs.example", "other.example", False, False),
        ("HTTP://SERVER.lan:8765", "server.LAN:8765", False, True),
    ],
)
def test_the_rule(origin: str | None, host: str, on_loopback: bool, allowed: bool) -> None:
    assert (Origins([], ["mybox"]).refusal_reason(origin, host, on_loopback=on_loopback) is None) is allowed


@pytest.mark.parametrize(
    ("entry", "origin", "host", "allowed"),
    [
        ("https://dash.example", "https://dash.example", HERE, True),
        (
            "https://dash.example",
            "https://dash.example",
            "dash.example",
            True,
        ),  # what a proxy on this machine passes on
        ("https://dash.example:443/", "https://dash.example", HERE, True),
        ("https://Dash.example", "https://dash.example", HERE, True),
        ("https://dash.example", "http://dash.example", HERE, False),
        ("https://dash.example", "https://dash.example:8443", HERE, False),
        ("https://dash.example", "https://dash.example.evil.example", HERE, False),
        ("http://[::1]:3000", "http://[::1]:3000", HERE, True),
        ("null", "null", HERE, True),
        ("*", "https://evil.example", "evil.example", True),
    ],
)
def test_what_is_allowed_besides(entry: str, origin: str, host: str, allowed: bool) -> None:
    assert (Origins([check_origin(entry)]).refusal_reason(origin, host, on_loopback=True) is None) is allowed


@pytest.mark.parametrize(
    "entry", ["", "dash.example", "ws://dash.example", "https://", "https://a/b", "https://a:b", "http://[::1"]
)
def test_what_is_no_origin(entry: str) -> None:
    with pytest.raises(UsageError, match="is not an origin"):
        check_origin(entry)


@pytest.fixture
async def allowing(tmp_path: Path, small_graph: Graph) -> AsyncIterator[Stage]:
    from tests.server.conftest import Stage

    staged = Stage(tmp_path, ServerOptions(allow_origins=("https://dash.example",)), small_graph)
    await staged.start()
    yield staged
    await staged.stop()


async def status_of(stage: Stage, path: str, method: str = "GET", **headers: str) -> int:
    async with stage.session.request(method, stage.http + path, headers=headers, data=b"{}") as response:
        return response.status


async def handshake(stage: Stage, **headers: str) -> int:
    try:
        async with stage.session.ws_connect(f"{stage.http}/ws", headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def test_a_page_of_elsewhere_cannot_open_a_websocket(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    same = f"http://127.0.0.1:{stage.port}"
    assert await handshake(stage) == 101
    assert await handshake(stage, Origin=same) == 101
    for _ in range(2):
        assert await handshake(stage, Origin="https://evil.example") == 403
    assert await handshake(stage, Origin="null") == 403
    assert await handshake(stage, Origin="http://evil.example", Host="evil.example") == 403
    assert await handshake(stage, Host="a-name-of-ours.test") == 101  # a program: a browser would have said an Origin
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3  # once an origin
    assert "--allow-origin https://evil.example" in said[0]


@pytest.mark.parametrize("path", ["/", "/viewer/main.js", "/graph.json", "/physics", "/replay"])
async def test_a_page_of_elsewhere_gets_nothing_over_http(stage: Stage, path: str) -> None:
    assert await status_of(stage, path, Origin="https://evil.example") == 403
    assert await status_of(stage, path, Host="evil.example") == 403
    assert await status_of(stage, path, Host="evil.example", Origin="http://evil.example") == 403


async def test_a_program_that_says_no_host_is_answered(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(b"GET /graph.json HTTP/1.0\r\n\r\n")
    assert b" 200 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_probes_may_call_the_machine_as_they_like(stage: Stage) -> None:
    for path in ("/healthz", "/metrics"):
        assert await status_of(stage, path, Host="vfctl.internal") == 200
        assert await status_of(stage, path, Origin="https://evil.example") == 403


@pytest.mark.parametrize("path", ["/physics", "/replay"])
async def test_a_page_of_elsewhere_changes_nothing(allowing: Stage, path: str) -> None:
    assert await status_of(allowing, path, "PATCH", Origin="https://evil.example") == 403
    for origin in ("https://evil.example", "https://dash.example"):  # before a PATCH, browsers ask
        async with allowing.session.options(
            allowing.http + path, headers={"Origin": origin, "Access-Control-Request-Method": "PATCH"}
        ) as response:
            assert response.status in (403, 405)
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_what_is_allowed_may_listen_and_read(allowing: Stage) -> None:
    assert await handshake(allowing, Origin="https://dash.example") == 101
    assert await handshake(allowing, Origin="https://evil.example") == 403
    async with allowing.session.get(
        f"{allowing.http}/graph.json", headers={"Origin": "https://dash.example"}
    ) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "https://dash.example"
        assert response.headers["Vary"] == "Origin"


async def test_other_sites_may_not_embed_what_is_read_without_an_origin(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/graph.json") as response:
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in response.headers
