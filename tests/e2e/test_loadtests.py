"""Load tests beyond a crowd of viewers, with real processes: courses, mixes, searches, servers of another make."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import websockets

from .conftest import run, run_apart

COURSE = """
clients = 20
gates = ["clients.failed == 0", "clients.lost == 0", "frames.wrong == 0", "roles.watcher.frames.gaps == 0",
         "roles.dragger.latency_ms.count > 0", "voice_ms.count > 0", "reconnect_ms.count >= 2"]

[[stages]]
kind = "ramp"
duration_s = 0.2

[[stages]]
kind = "hold"
name = "first"
duration_s = 2

[[stages]]
kind = "spike"
clients = 30
duration_s = 0.5

[[stages]]
kind = "hold"
name = "second"
duration_s = 2

[[mix]]
role = "viewer"
name = "watcher"
share = 4

[[mix]]
role = "filtered-viewer"
share = 1
filters = 5
change_every_s = 0.3

[[mix]]
role = "dragger"
share = 1
hold_s = 0.2
pause_s = 0.1

[[mix]]
role = "speaker"
share = 1
talk_s = 0.4
pause_s = 0.1

[[mix]]
role = "flapping"
share = 1
stay_s = 0.8
away_s = 0.2

[[mix]]
role = "slow-reader"
share = 1

[[mix]]
role = "reconnect-storm"
share = 1
every_s = 1.2
"""


def test_everybody_takes_part_in_every_stage(live: str, tmp_path: Path) -> None:
    scenario, report = tmp_path / "course.toml", tmp_path / "results.json"
    scenario.write_text(COURSE)
    code, _, errors = run("loadtest", live, "--scenario", scenario, "--json", report)
    assert code == 0, errors
    results = json.loads(report.read_text())
    assert all(gate["passed"] for gate in results["gates"])
    assert [(stage["name"], stage["clients"]["target"], stage["measured"]) for stage in results["stages"]] == [
        ("ramp", 20, False),
        ("first", 20, True),
        ("spike", 30, False),
        ("second", 20, True),
    ]
    assert results["duration_s"] == pytest.approx(4.0, abs=0.1)
    assert sum(role["clients"]["target"] for role in results["roles"].values()) == 20
    assert results["roles"]["slow-reader"]["throughput"]["messages_per_s"] == 0
    rates = [results["roles"][name]["throughput"] for name in ("watcher", "filtered-viewer")]
    whole_bytes, subset_bytes = (rate["bytes_per_s"] / rate["messages_per_s"] for rate in rates)
    assert subset_bytes < 0.7 * whole_bytes
    assert "stage 3 of 4: spike, 30 clients, 0.5 s" in errors


def test_a_search_finds_the_most_that_is_allowed(live: str) -> None:
    code, output, errors = run(
        *("loadtest", live, "--find", "clients", "--until", "frames.received > 0", "--clients", "300"),
        *("--duration", "0.4", "--ramp", "0.2", "--json", "-"),
    )
    assert code == 0, errors
    found = json.loads(output)
    assert (found["schema"], found["load"], found["at_limit"]) == ("vfctl.find/1", 300, True)
    assert [(probe["load"], probe["held"]) for probe in found["probes"]] == [(250, True), (300, True)]
    assert "250 clients: holds" in errors


def test_a_search_in_which_nothing_holds_is_exit_code_3(live: str) -> None:
    code, _, errors = run(
        *("loadtest", live, "--find", "clients", "--until", "latency_ms.p50 < 0", "--clients", "4"),
        *("--duration", "0.3", "--ramp", "0.1"),
    )
    assert code == 3
    assert "the gates failed even at the lowest load" in errors


async def test_a_server_of_another_make_is_measured_as_far_as_it_goes() -> None:
    async def chatter(connection: websockets.ServerConnection) -> None:
        while True:
            await connection.send("tick")
            await connection.send(bytes(1000))
            await asyncio.sleep(0.1)

    async with websockets.serve(chatter, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/some/where"
        code, output, errors = await asyncio.to_thread(
            run_apart, "loadtest", url, "--clients", "10", "--ramp", "0.1", "--duration", "1", "--json", "-"
        )
    assert code == 0, errors
    results = json.loads(output)
    assert results["peer"] == "a server that is not vfctl"
    assert results["clients"]["connected"] == 10
    assert results["throughput"]["messages_per_s"] == pytest.approx(200, rel=0.3)
    assert results["throughput"]["bytes_per_s"] == pytest.approx(100 * (1004 + 6), rel=0.3)
    assert results["latency_ms"]["count"] == 0
    assert "latency is measured only if the frames are V4 with TIMED trailers" in errors


async def test_roles_that_need_the_graph_say_so_to_a_server_that_has_none(tmp_path: Path) -> None:
    async def silent(connection: websockets.ServerConnection) -> None:
        await connection.close()

    scenario = tmp_path / "drag.toml"
    scenario.write_text('clients = 2\n[[mix]]\nrole = "dragger"\n')
    async with websockets.serve(silent, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        code, _, errors = await asyncio.to_thread(run_apart, "loadtest", url, "--scenario", scenario)
    assert code == 4
    assert "before it sent a FullGraph" in errors


@pytest.mark.parametrize(
    ("table", "options", "nodes"),
    [("", (), 316), ("embedded = true\n", (), 20), ("", ("--embedded",), 20), ("", ("--nodes", "30"), 30)],
)
def test_the_embedded_server_can_be_insisted_on(
    table: str, options: tuple[str, ...], nodes: int, live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfctl.loadtest.control.run.DEFAULT_URL", live)  # something answers there
    scenario = tmp_path / "own.toml"
    scenario.write_text(f'{table}clients = 2\nramp_s = 0.1\nduration_s = 0.2\n[server]\nnodes = 20\nstate = "active"\n')
    code, output, errors = run("loadtest", "--scenario", scenario, *options, "--json", "-")
    assert code == 0, errors
    assert json.loads(output)["peer"].endswith(f", {nodes} nodes")
