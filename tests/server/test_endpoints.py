"""The gateway's HTTP side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vfctl import __version__
from vfctl.graph import Graph
from vfctl.server.options import ServerOptions

if TYPE_CHECKING:
    from .conftest import Stage


async def test_healthz_names_us_and_our_version(stage: Stage) -> None:
    await (await stage.connect()).receive()
    async with stage.session.get(f"{stage.http}/healthz") as response:
        health = await response.json()
    assert (health["name"], health["version"], health["status"]) == ("vfctl", __version__, "ok")
    assert (health["nodes"], health["clients"], health["settled"]) == (4, 1, False)


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


@pytest.mark.parametrize(("query", "says"), [("?encoding=gzip", "encoding"), ("?timed=2", "timed")])
async def test_a_url_that_asks_for_the_impossible_is_told_so(stage: Stage, query: str, says: str) -> None:
    async with stage.session.get(f"{stage.http}/ws{query}") as response:
        assert response.status == 400
        assert says in await response.text()


async def test_ws_without_an_upgrade_says_what_it_is(stage: Stage) -> None:
    async with stage.session.get(f"{stage.http}/ws") as response:
        assert response.status == 400
        assert "WebSocket" in await response.text()


async def test_a_full_server_answers_503_and_when_to_come_back(tmp_path: Path, small_graph: Graph) -> None:
    from .conftest import Stage

    stage = Stage(tmp_path, ServerOptions(), small_graph, max_clients=1)
    await stage.start()
    await (await stage.connect()).receive()
    async with stage.session.get(f"{stage.http}/ws") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"
    assert stage.gateway.clients.traffic.refused == 1
    await stage.stop()
