"""The gateway's HTTP side."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vfctl import __version__
from vfctl.graph import Graph
from vfctl.graph.model import to_node_link
from vfctl.protocol import Heartbeat, Nodes, PositionUpdate
from vfctl.server.http import endpoints
from vfctl.server.options import ServerOptions

if TYPE_CHECKING:
    from tests.server.conftest import Stage


async def test_healthz_names_us_and_our_version(stage: Stage) -> None:
    await (await stage.connect()).receive()
    async with stage.session.get(f"{stage.http}/healthz") as response:
        health = await response.json()
    assert (health["name"], health["version"], health["status"]) == ("vfctl", __version__, "ok")
    assert (health["nodes"], health["clients"], health["settled"]) == (4, 1, False)
    assert health["encodings"] == ["raw", "lz4", "compact"]


async def test_metrics_count_what_was_sent(stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.receive()
    stage.tick(1.0)
    await viewer.receive()
    async with stage.session.get(f"{stage.http}/metrics") as response:
        text = await response.text()
    samples = {sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples}
    assert samples["vfctl_clients"].value == 1
    assert samples["vfctl_frames_sent_total"].value == 1
    assert samples["vfctl_frames_sent_total"].labels == {"gateway": "0"}
    update, graph = 8 + 4 * 28, 8 + 4 * 28 + 4 + 3 * 12
    assert samples["vfctl_sent_bytes_total"].value == (2 + update) + (4 + graph)  # with RFC 6455's headers


async def test_graph_json_has_labels_and_positions(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/graph.json") as response:
        graph = await response.json()
    assert [node["label"] for node in graph["nodes"]] == list(stage.graph.labels)
    assert {"x", "y", "z", "kind", "depth", "cluster"} <= set(graph["nodes"][0])
    assert len(graph["links"]) == 3


async def test_clients_are_served_while_graph_json_is_built(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    building, go_on = threading.Event(), threading.Event()

    def slow(graph: Graph, nodes: Nodes) -> dict[str, Any]:
        building.set()
        assert go_on.wait(5), "nobody was served meanwhile"
        return to_node_link(graph, nodes)

    monkeypatch.setattr(endpoints, "to_node_link", slow)
    viewer = await stage.connect()
    fetching = asyncio.create_task(graph_json(stage))
    async with asyncio.timeout(10):
        while not building.is_set():
            await asyncio.sleep(0)
    await viewer.send(Heartbeat(1))
    await viewer.receive_kind(Heartbeat)
    assert not fetching.done()
    go_on.set()
    status, body, _ = await fetching
    assert (status, len(json.loads(body)["nodes"])) == (200, 4)


async def test_graph_json_is_built_once_for_each_state(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[float] = []

    def counting(graph: Graph, nodes: Nodes) -> dict[str, Any]:
        built.append(float(nodes["x"][0]))
        return to_node_link(graph, nodes)

    monkeypatch.setattr(endpoints, "to_node_link", counting)
    viewer = await stage.connect()
    answers = await asyncio.gather(*(graph_json(stage) for _ in range(5)))
    assert built == [0.0]
    assert len(set(answers)) == 1
    status, body, tag = answers[0]
    assert status == 200
    assert await graph_json(stage, tag) == (304, b"", tag)
    stage.tick(1.0)
    await viewer.receive_kind(PositionUpdate)
    status, newer, other_tag = await graph_json(stage, tag)
    assert (status, built) == (200, [0.0, 1.0])
    assert other_tag != tag
    assert json.loads(newer)["nodes"][0] == json.loads(body)["nodes"][0] | {"x": 1.0}


async def graph_json(stage: Stage, known: str | None = None) -> tuple[int, bytes, str]:
    """Status, body and ETag; `known` is an ETag that the client has."""
    headers = {} if known is None else {"If-None-Match": known}
    async with stage.session.get(f"{stage.http}/graph.json", headers=headers) as response:
        return response.status, await response.read(), response.headers["ETag"]


@pytest.mark.parametrize(("query", "says"), [("?encoding=gzip", "encoding"), ("?timed=2", "timed")])
async def test_a_url_that_asks_for_the_impossible_is_told_so(stage: Stage, query: str, says: str) -> None:
    async with stage.session.get(f"{stage.http}/ws{query}") as response:
        assert response.status == 400
        assert says in await response.text()


async def test_ws_without_an_upgrade_says_what_it_is(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/ws") as response:
        assert response.status == 400
        assert "WebSocket" in await response.text()


async def test_all_gateways_are_in_the_answer_whichever_is_asked(stage: Stage) -> None:
    other = stage.scoreboard[1]
    other.began_us, other.clients, other.capacity, other.frames, other.interval_us = 1_000_000, 40, 50, 7, 80_000
    await (await stage.connect()).receive()
    async with stage.session.get(f"{stage.http}/healthz") as response:
        health = await response.json()
    assert (health["gateways"], health["clients"], health["max_clients"]) == (2, 41, 150)
    assert health["interval_ms"] == 80  # the longest
    samples = await scrape(stage)
    assert samples["vfctl_clients"] == {"0": 1, "1": 40}
    assert samples["vfctl_frames_sent_total"] == {"0": 0, "1": 7}
    assert samples["vfctl_interval_seconds"]["1"] == pytest.approx(0.08)
    assert samples["vfctl_start_time_seconds"]["1"] == 1


async def test_a_gateway_that_is_not_there_is_not_in_the_metrics(stage: Stage) -> None:
    assert (await scrape(stage))["vfctl_clients"] == {"0": 0}


async def scrape(stage: Stage) -> dict[str, dict[str, float]]:
    """Values by sample name and gateway."""
    async with stage.session.get(f"{stage.http}/metrics") as response:
        text = await response.text()
    values: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values.setdefault(sample.name, {})[sample.labels["gateway"]] = sample.value
    return values


@pytest.mark.parametrize(
    ("others", "says"), [(99, "the server is full: it accepts 100 clients"), (0, "this gateway is full: it holds 1 ")]
)
async def test_a_full_server_answers_503_and_when_to_come_back(
    tmp_path: Path, small_graph: Graph, others: int, says: str
) -> None:
    from tests.server.conftest import Stage

    stage = Stage(tmp_path, ServerOptions(max_clients=100), small_graph, capacity=1)
    stage.scoreboard[1].clients = others
    await stage.start()
    viewer = await stage.connect()
    await viewer.receive()
    async with stage.session.get(f"{stage.http}/ws") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"
        assert says in await response.text()
    assert stage.gateway.clients.traffic.refused == 1
    await viewer.socket.close()
    await (await stage.connect()).receive()  # in its place
    await stage.stop()


async def test_what_comes_to_nothing_takes_no_place(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/ws") as response:
        assert response.status == 400
    assert stage.scoreboard.clients == 0
