"""The viewer's files over HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yarl import URL

import vfctl

if TYPE_CHECKING:
    from tests.server.conftest import Stage

VIEWER = Path(vfctl.__file__).parent / "viewer"


async def test_the_page_and_all_that_it_names_are_there(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/") as response:
        page = await response.text()
        assert response.content_type == "text/html"
    assert page == (VIEWER / "index.html").read_text(encoding="utf-8")
    scripts = "".join(path.read_text(encoding="utf-8") for path in VIEWER.glob("*.js"))
    named = re.findall(r'"(viewer/[^"]+)"', page) + [
        f"viewer/{name}" for name in re.findall(r'^import .* from "\./([^"]+)"', scripts, re.MULTILINE)
    ]
    assert len(set(named)) > 20
    for name in set(named):
        async with stage.session.get(f"{stage.http}/{name}") as response:
            assert (response.status, await response.read()) == (200, (VIEWER / Path(name).name).read_bytes())
            types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
            assert response.content_type == types[name.rpartition(".")[2]]


async def test_nothing_from_elsewhere_is_run_or_framed(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/") as response:
        policy = response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_a_file_that_is_known_is_not_sent_again(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/viewer/main.js") as response:
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
    async with stage.session.get(f"{stage.http}/viewer/main.js", headers={"If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with stage.session.get(f"{stage.http}/viewer/main.js", headers={"If-None-Match": '"other"'}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "path",
    ["/viewer/../errors.py", "/viewer/%2e%2e%2ferrors.py", "/viewer/..%5cerrors.py", "/viewer/", "/viewer/no.js"],
)
async def test_no_path_leads_out(stage: Stage, path: str) -> None:
    async with stage.session.get(URL(f"{stage.http}{path}", encoded=True)) as response:
        assert response.status == 404
        assert b"class" not in await response.read()


async def test_healthz_says_whether_there_is_a_replay(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/healthz") as response:
        assert (await response.json())["replay"] is False
