"""The physics over HTTP: a real server with two gateways, and one gateway with a source that is the test."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from vfctl.errors import UsageError
from vfctl.physics import PARAMETERS, PhysicsParameters
from vfctl.server.gateway import bus_client
from vfctl.server.http.physics_api import refusal_reason
from vfctl.server.http.replay_api import ReplayClient
from vfctl.server.options import Admin, LiveGraph, ServerOptions
from vfctl.server.process.launch import Server, launch

if TYPE_CHECKING:
    from tests.server.conftest import Stage

SOURCE = LiveGraph(generator="tree", nodes=12, at_rest=True, parameters=PhysicsParameters(damping=5.0), device="cpu")

Answer = tuple[int, dict[str, Any]]


def call(server: Server, method: str = "GET", body: Any = None, path: str = "/physics", **headers: str) -> Answer:
    """Over a connection of its own: the kernel chooses the gateway."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{path}", data, {"Connection": "close", **headers}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def values(server: Server) -> dict[str, float]:
    status, document = call(server)
    assert status == 200
    return {name: entry["value"] for name, entry in document["parameters"].items()}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with launch(ServerOptions(source=SOURCE, port=0, workers=2)) as server:
        yield server


@pytest.mark.processes
def test_get_shows_every_parameter_with_its_range(server: Server) -> None:
    status, document = call(server)
    assert (status, document["schema"], document["device"]) == (200, "vfctl.physics/1", "cpu")
    assert server.device == "cpu"
    assert list(document["parameters"]) == list(PARAMETERS)
    info = PARAMETERS["damping"]
    assert document["parameters"]["damping"] == {
        "value": 5.0,
        "unit": info.unit,
        "minimum": info.minimum,
        "maximum": info.maximum,
        "default": info.default,
        "description": info.description,
    }


@pytest.mark.processes
def test_a_change_wakes_the_layout_and_all_gateways_agree_at_once(server: Server) -> None:
    deadline = time.monotonic() + 10
    while not call(server, path="/healthz")[1]["settled"]:
        assert time.monotonic() < deadline
    status, document = call(server, "PATCH", {"spring_k": 120, "rest_length": 30})
    assert (status, document["parameters"]["spring_k"]["value"]) == (200, 120.0)
    answers = [values(server) for _ in range(12)]  # of both gateways, but for one chance in 2,000
    assert all(answer == answers[0] for answer in answers)
    assert answers[0] == PhysicsParameters(damping=5.0, spring_k=120.0, rest_length=30.0)._asdict()
    while call(server, path="/healthz")[1]["settled"]:
        assert time.monotonic() < deadline


@pytest.mark.processes
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"spring_k": 1, "damping": 101}, "damping = 101 is out of range: 0 to 100 1/s"),
        ({"spring_k": 1, "damping": 10**400}, "is out of range: 0 to 100 1/s"),
        ({"spring_k": 1, "dt": "fast"}, "dt is a number, not 'fast'"),
        ({"spring_k": 1, "dt": None}, "dt is a number"),
        (b'{"spring_k": 1, "dt": NaN}', "dt is a number, not nan"),
        ({"spring_k": 1, "sprong_k": 1}, "there is no physics parameter 'sprong_k'"),
        ({"spring_k": 1, "self": 1}, "there is no physics parameter 'self'"),
        ([1, 2], "not a JSON object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 60_000, "not JSON"),
    ],
)
def test_what_cannot_be_is_refused_whole(server: Server, body: Any, says: str) -> None:
    before = values(server)
    status, document = call(server, "PATCH", body)
    assert status == 400
    assert says in document["error"]
    assert values(server) == before


@pytest.mark.processes
def test_a_refusal_has_the_range_for_programs_and_the_suggestion_for_people(server: Server) -> None:
    _, document = call(server, "PATCH", {"damping": 101})
    assert (document["parameter"], document["minimum"], document["maximum"]) == ("damping", 0.0, 100.0)
    _, document = call(server, "PATCH", {"sprong_k": 1})
    assert document["hint"] == "did you mean spring_k?"


@pytest.mark.processes
def test_an_empty_change_changes_nothing(server: Server) -> None:
    before = values(server)
    assert call(server, "PATCH", {})[0] == 200
    assert values(server) == before


@pytest.mark.processes
def test_changes_of_all_gateways_come_together(server: Server) -> None:
    """Ten changes of ten parameters at the same time, whichever gateway they go to: none undoes another."""
    names = list(PARAMETERS)
    wanted = {name: (PARAMETERS[name].minimum + PARAMETERS[name].maximum) / 2 for name in names}

    async def change_all() -> list[Answer]:
        return await asyncio.gather(*(asyncio.to_thread(call, server, "PATCH", {name: wanted[name]}) for name in names))

    assert {status for status, _ in asyncio.run(change_all())} == {200}
    assert values(server) == wanted


@pytest.mark.processes
def test_a_proxy_and_a_foreign_name_are_not_this_machine(server: Server) -> None:
    before = values(server)
    for headers, hint in (
        ({"X-Forwarded-For": "203.0.113.9"}, "--admin"),
        ({"Host": "evil.example:8765"}, "--allow-origin"),
    ):
        status, document = call(server, "PATCH", {"damping": 1}, **headers)
        assert status == 403
        assert hint in document["hint"]
    assert values(server) == before


@pytest.mark.parametrize(
    ("admin", "remote", "host", "allowed"),
    [
        (Admin.LOCAL, "127.0.0.1", "127.0.0.1:8765", True),
        (Admin.LOCAL, "127.3.2.1", "LOCALHOST", True),
        (Admin.LOCAL, "::1", "[::1]:8765", True),
        (Admin.LOCAL, "::ffff:127.0.0.1", "localhost:8765", True),
        (Admin.LOCAL, "192.0.2.1", "localhost:8765", False),
        (Admin.LOCAL, "127.0.0.1", "127.0.0.1.evil.example", False),
        (Admin.LOCAL, "127.0.0.1", "", False),
        (Admin.LOCAL, None, "localhost", False),
        (Admin.NOBODY, "127.0.0.1", "localhost", False),
        (Admin.ANYONE, "192.0.2.1", "vfctl.example", True),
    ],
)
def test_who_may_change_the_physics(admin: Admin, remote: str | None, host: str, allowed: bool) -> None:
    request = make_mocked_request("PATCH", "/physics", {"Host": host}).clone(remote=remote)
    assert (refusal_reason(request, admin, "physics") is None) is allowed


@pytest.mark.processes
def test_a_server_without_a_recording_has_no_replay(server: Server) -> None:
    with pytest.raises(UsageError, match="there is no replay"):
        ReplayClient(server.options.host, server.port).get()


async def test_a_source_that_does_not_answer_is_503(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_client, "REPLY_TIMEOUT_S", 0.05)
    async with stage.session.get(f"{stage.http}/physics") as response:  # the test's bus answers nothing
        assert response.status == 503
        assert "has not answered" in (await response.json())["error"]


async def test_answers_find_the_question_that_they_belong_to(stage: Stage) -> None:
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    def answer(request: bytes) -> bytes:
        asked.put_nowait(request)
        spring_k = json.loads(request)["physics"]["spring_k"]
        return json.dumps({"device": "cpu", "parameters": PhysicsParameters(spring_k=spring_k)._asdict()}).encode()

    stage.bus.on_request = answer

    async def change(spring_k: float) -> float:
        async with stage.session.patch(f"{stage.http}/physics", json={"spring_k": spring_k}) as response:
            return (await response.json())["parameters"]["spring_k"]["value"]

    wanted = [float(number) for number in range(1, 30)]
    assert await asyncio.gather(*map(change, wanted)) == wanted


async def test_a_body_of_any_size_is_not_read(stage: Stage) -> None:
    async with stage.session.patch(f"{stage.http}/physics", data=b" " * 10**6) as response:
        assert response.status == web.HTTPRequestEntityTooLarge.status_code
