"""The whole data flow with real processes: serve, loadtest, record, decode, replay, and a client of another make."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import websockets

from vfctl.protocol import FullGraph, NodeDrag, PositionUpdate, decode, encode

if TYPE_CHECKING:
    from .conftest import Serve

from .conftest import EXAMPLES, Vfctl, run


def loadtest(url: str, clients: int, *options: str | Path) -> tuple[int, dict]:
    load = ("--clients", str(clients), "--ramp", "0.2", "--duration", "0.6")
    code, output, errors = run("loadtest", url, *load, "--json", "-", *options)
    assert output, errors
    return code, json.loads(output)


def test_loadtest_against_a_running_server(live: str) -> None:
    code, results = loadtest(live, 300, "--gate", "clients.lost == 0", "--gate", "latency_ms.p50 > 0")
    assert code == 0
    assert results["schema"] == "vfctl.loadtest/3"
    assert results["url"] == f"{live}?timed=1"
    assert results["clients"] == {"target": 300, "connected": 300, "failed": 0, "lost": 0, "away": 0, "reconnects": 0}
    assert results["latency_clock"] == "kernel"
    assert results["latency_ms"]["count"] > 0
    assert results["connect_ms"]["count"] == 300
    assert results["frames"]["gaps"] == 0
    assert 0 < results["latency_ms"]["min"] <= results["latency_ms"]["p50"] <= results["latency_ms"]["max"]
    throughput = results["throughput"]
    assert throughput["bytes_per_s"] == pytest.approx(300 * throughput["bytes_per_s_per_client"], rel=0.01)
    assert [gate["passed"] for gate in results["gates"]] == [True, True]


def test_a_gate_that_does_not_hold_is_exit_code_3(live: str) -> None:
    code, results = loadtest(live, 10, "--gate", "latency_ms.p95 < 0.0001", "--gate", "voice_ms.p95 < 1")
    assert code == 3
    assert [gate["passed"] for gate in results["gates"]] == [False, False]


def test_filters_and_lz4_reach_the_clients(live: str) -> None:
    _, raw = loadtest(live, 20)
    _, filtered = loadtest(live, 20, "--encoding", "lz4", "--filter", '{"kind":["property"]}')
    assert filtered["clients"]["connected"] == 20
    size = filtered["throughput"]["bytes_per_s"] / filtered["throughput"]["messages_per_s"]
    assert size < 0.5 * raw["throughput"]["bytes_per_s"] / raw["throughput"]["messages_per_s"]


@pytest.mark.parametrize("name", ["capture.mcap", "capture.bin"])
def test_record_decode_replay_loadtest(live: str, serve: Serve, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    code, _, errors = run("record", live, path, "--duration", "1.2")
    assert code == 0, errors

    code, output, errors = run("decode", path, "--format", "ndjson")
    assert code == 0, errors
    messages = [json.loads(line) for line in output.splitlines()]
    assert messages[0]["type"] == "FullGraph"
    assert (messages[0]["flags"], messages[0]["count"]) == (["TIMED", "METADATA"], 316)
    updates = [message for message in messages if message["type"] == "PositionUpdate"]
    assert len(updates) >= 10
    assert [update["sequence"] for update in updates] == list(
        range(updates[0]["sequence"], updates[0]["sequence"] + len(updates))
    )

    replayed = serve("replay", path, "--loop")
    code, results = loadtest(replayed, 50)
    assert (code, results["clients"]["connected"], results["frames"]["gaps"]) == (0, 50, 0)
    # An old recording has fresh trailers: nothing is as late as the recording is old.
    assert results["latency_ms"]["max"] < 1000


@pytest.mark.parametrize("file", ["network.graphml", "ontology.ttl"])
def test_graph_files(serve: Serve, file: str) -> None:
    url = serve("serve", EXAMPLES / file)
    code, results = loadtest(url, 20)
    assert (code, results["clients"]["connected"]) == (0, 20)


async def test_a_client_of_another_make_reads_the_stream_and_drags(live: str) -> None:
    async with websockets.connect(f"{live}?timed=1&metadata=1", compression=None) as connection:
        graph = decode(await connection.recv())
        assert isinstance(graph, FullGraph)
        assert graph.metadata is not None
        assert len(graph.nodes) == len(graph.metadata.label) == 316
        node_id = int(graph.nodes["id"][5])
        for _ in range(200):
            await connection.send(encode(NodeDrag(node_id, 40.0, 41.0, 42.0)))
            update = decode(await connection.recv())
            assert isinstance(update, PositionUpdate)
            node = update.nodes[update.nodes["id"] == node_id][0]
            if [node["x"], node["y"], node["z"]] == [40.0, 41.0, 42.0]:
                break
        else:
            pytest.fail("the dragged node did not arrive")
        assert not update.settled
        assert update.trailer is not None
        assert update.trailer.interval_us == 50_000


async def test_the_plain_connection_is_the_description_to_the_byte(live: str) -> None:
    async with websockets.connect(live, compression=None) as connection:
        await connection.recv()
        update = await connection.recv()
        assert isinstance(update, bytes)
        assert len(update) == 8856
        assert update[:8] == bytes([4, 2, update[2] & 0x20, 0]) + (316).to_bytes(4, "little")


@pytest.mark.parametrize(("options", "rate"), [([], 1.0), (["--active"], 20.0)])
def test_the_embedded_server_is_at_rest_unless_it_is_kept_awake(options: list[str], rate: float) -> None:
    load = ("--clients", "20", "--ramp", "0.2", "--duration", "2")
    code, output, errors = run("loadtest", "--embedded", *load, "--json", "-", *options)
    assert code == 0, errors
    results = json.loads(output)
    assert results["peer"].endswith("316 nodes")
    assert results["throughput"]["messages_per_s_per_client"] == pytest.approx(rate, rel=0.4)


@pytest.mark.parametrize("moment", ["starting an embedded server", "compiling the physics", "clients against"])
def test_ctrl_c_while_a_loadtest_starts_ends_it_without_a_traceback(moment: str) -> None:
    """A terminal's Ctrl-C hits all processes of the group, also those that are still importing."""
    command = Vfctl("loadtest", "--embedded", "--clients", "20", "--duration", "600", new_group=True)
    command.wait_for(moment)
    command.interrupt_group()
    code, _ = command.finish()
    assert code == 130, command.errors
    assert "Traceback" not in command.errors


async def test_ctrl_c_ends_a_server_and_tells_its_clients() -> None:
    server = Vfctl("serve", "--port", "0", "--nodes", "20")
    url = server.wait_for(r"serving .* on (ws://\S+)")[1]
    async with websockets.connect(url, compression=None) as connection:
        await connection.recv()
        server.interrupt()
        async for _ in connection:
            pass
        assert connection.close_code == 1001
    code, _ = server.finish()
    assert code == 0, server.errors


def test_a_server_whose_process_is_killed_says_so() -> None:
    server = Vfctl("serve", "--port", "0", "--nodes", "20")
    server.wait_for("serving")
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    sources = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(sources[0]), signal.SIGKILL)
    code, _ = server.finish()
    assert code == 4
    assert "killed by signal 9" in server.errors or "source process has closed the bus" in server.errors
    assert "Traceback" not in server.errors


def test_npz_holds_what_was_recorded(live: str, tmp_path: Path) -> None:
    path = tmp_path / "capture.mcap"
    run("record", live, path, "--duration", "0.4")
    command = Vfctl("decode", path, "--format", "npz")
    assert command.process.stdout is not None
    columns = np.load(io.BytesIO(command.process.stdout.read()))
    command.finish()
    assert columns["nodes"].dtype.itemsize == 28
    assert len(columns["offsets"]) == len(columns["sequence"]) + 1
