"""A replay over HTTP, from a real server with two gateways."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets

from vfctl.capture import open_writer
from vfctl.errors import PeerError, UsageError
from vfctl.graph import Graph, build_graph, to_full_graph
from vfctl.protocol import (
    NODE_DTYPE,
    Filter,
    FilterUpdate,
    FullGraph,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    decode,
    encode,
)
from vfctl.server.http.replay_api import ReplayClient
from vfctl.server.options import Recording, ServerOptions
from vfctl.server.process.launch import Server, launch

START_NS = 1_700_000_000_000_000_000
LENGTH = 200


def nodes_at(graph: Graph, x: float) -> Any:
    nodes = np.zeros(len(graph), NODE_DTYPE)
    nodes["id"] = graph.ids
    nodes["x"] = x
    return nodes


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds: x goes from 0 to 199, and somebody selects a node at the half."""
    kinds = ["class", "class", "individual", "individual"]
    graph = build_graph("small", ["Root", "A", "B", "C"], [(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0)], kinds=kinds)
    path = tmp_path_factory.mktemp("replay") / "ten.mcap"
    with open_writer(path, metadata={}) as writer:
        writer.write(encode(to_full_graph(graph, nodes_at(graph, 0))), START_NS)
        for number in range(1, LENGTH):
            arrival_ns = START_NS + number * 50_000_000
            writer.write(encode(PositionUpdate(nodes_at(graph, number))), arrival_ns)
            if number == LENGTH // 2:
                writer.write(encode(Notice({"notice": "selection", "client": 9, "node_id": 2})), arrival_ns)
    return path


@pytest.fixture(scope="module")
def server(recording: Path) -> Iterator[Server]:
    options = ServerOptions(source=Recording((str(recording),), paused=True), port=0, workers=2)
    with launch(options) as server:
        yield server


@pytest.fixture
def remote(server: Server) -> ReplayClient:
    remote = ReplayClient(server.options.host, server.port)
    remote.change({"paused": True, "position_s": 0, "speed": 1})
    return remote


@pytest.mark.processes
def test_get_shows_where_it_is(remote: ReplayClient, recording: Path) -> None:
    status = remote.get()
    assert status.pop("schema") == "vfctl.replay/1"
    assert status == {
        "file": str(recording),
        "position_s": 0,
        "duration_s": pytest.approx(9.95),
        "start_unix_s": START_NS / 1e9,
        "speed": 1,
        "paused": True,
        "loop": False,
        "ended": False,
    }


@pytest.mark.processes
async def test_every_client_gets_each_state_once_in_order(server: Server, remote: ReplayClient) -> None:
    """However its own phase lies; and at the pace of the recording."""

    async def watch() -> tuple[list[float], list[float]]:
        found, times_s = [], []
        async with websockets.connect(server.url, compression=None) as connection:
            await connection.recv()
            ready.release()
            while not found or found[-1] < 40:
                update = decode(await connection.recv())
                assert isinstance(update, PositionUpdate)
                found.append(float(update.nodes["x"][0]))
                times_s.append(time.monotonic())
        return found, times_s

    ready = asyncio.Semaphore(0)
    watching = [asyncio.create_task(watch()) for _ in range(12)]
    for _ in watching:
        await ready.acquire()
    await asyncio.to_thread(remote.change, {"paused": False})
    for task in watching:
        found, times_s = await asyncio.wait_for(task, 15)
        moving = found.index(1)
        assert set(found[:moving]) <= {0}
        assert found[moving:] == list(range(1, 41))
        assert np.median(np.diff(times_s[moving:])) == pytest.approx(0.05, abs=0.01)


@pytest.mark.processes
async def test_filters_work_on_replayed_states_and_seeking_shows_at_once(server: Server, remote: ReplayClient) -> None:
    async with websockets.connect(f"{server.url}?encoding=lz4&timed=1&metadata=1", compression=None) as connection:
        await connection.recv()
        await connection.send(encode(FilterUpdate(Filter(kinds=frozenset({"individual"})))))
        while not isinstance(graph := decode(await connection.recv()), FullGraph):
            pass
        assert graph.compressed
        assert graph.metadata is not None
        assert graph.metadata.label == ("B", "C")
        for position_s, x in ((7.5, 150), (2.0, 40)):
            began_s = time.monotonic()
            await asyncio.to_thread(remote.change, {"position_s": position_s})
            while True:
                update = decode(await connection.recv())
                if isinstance(update, PositionUpdate) and float(update.nodes["x"][0]) == x:
                    break
            assert len(update.nodes) == 2
            assert update.settled  # it is in pause
            assert time.monotonic() - began_s < 0.7  # not only at the stable interval


@pytest.mark.processes
async def test_recorded_selections_are_told_to_those_who_want_notices(server: Server, remote: ReplayClient) -> None:
    async with (
        websockets.connect(f"{server.url}?notices=1", compression=None) as wants,
        websockets.connect(server.url, compression=None) as other,
    ):
        await wants.recv()
        await other.recv()
        await asyncio.to_thread(remote.change, {"position_s": 4.9, "paused": False})
        heard = [decode(await wants.recv()) for _ in range(8)]
        assert Notice({"notice": "selection", "client": 9, "node_id": 2}) in heard
        heard = [decode(await other.recv()) for _ in range(8)]
        assert not any(isinstance(message, Notice) for message in heard)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"speed": -1}', 400, "speed -1"),
        (b'{"position_s": 1e9}', 400, "ends after 9.95 s"),
        (b'{"rewind": true}', 400, "no 'rewind'"),
        (b"[]", 400, "not a JSON object"),
        (b"{", 400, "not JSON"),
        (b'{"speed": NaN}', 400, "speed nan"),
    ],
)
def test_changes_that_cannot_be_are_answered_with_why(server: Server, body: bytes, status: int, said: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/replay", body, method="PATCH")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as error:
        document = json.load(error)
    assert error.code == status
    assert said in document["error"]
    assert document["schema"] == "vfctl.replay/1"


@pytest.mark.processes
def test_a_question_that_the_source_cannot_take_harms_nobody(server: Server, remote: ReplayClient) -> None:
    """The gateway that asks had lost its bus, and its clients their connections."""
    before = server.pids
    with pytest.raises(UsageError):
        remote.change({"position_s": 10**400})
    server.watch(0.5)
    assert remote.get()["duration_s"] is not None
    assert server.pids == before


@pytest.mark.processes
def test_a_proxy_may_not_steer(server: Server) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/replay", b"{}", {"X-Forwarded-For": "192.0.2.1"}, method="PATCH"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as error:
        assert (error.code, "its replay" in json.load(error)["error"]) == (403, True)


@pytest.mark.processes
def test_a_replay_has_no_physics(server: Server) -> None:
    for method in ("GET", "PATCH"):
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}/physics", b"{}", method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value as error:
            assert (error.code, "replay" in json.load(error)["error"]) == (409, True)
    assert server.device is None


def test_a_server_that_is_not_there_does_not_answer() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(PeerError, match="does not answer"):
            ReplayClient("127.0.0.1", unused.getsockname()[1]).get()


@pytest.mark.processes
async def test_clients_select_nodes_of_a_replay_and_cannot_drag_them(server: Server, remote: ReplayClient) -> None:
    async with (
        websockets.connect(f"{server.url}?notices=1", compression=None) as ann,
        websockets.connect(f"{server.url}?notices=1", compression=None) as bob,
    ):
        await ann.send(encode(NodeDrag(2, 9.0, 9.0, 9.0)))
        assert "this is a replay" in (await next_notice(ann))["message"]
        await ann.send(encode(NodeSelect(2)))
        own, told = await next_notice(ann), await next_notice(bob)
        assert (own["node_id"], own["own"], told["node_id"]) == (2, True, 2)
        await ann.send(encode(NodeSelect(None)))
        assert (await next_notice(bob))["node_id"] is None


async def next_notice(connection: websockets.ClientConnection) -> Mapping[str, Any]:
    async with asyncio.timeout(10):
        while not isinstance(message := decode(await connection.recv()), Notice):
            pass
    return message.body
