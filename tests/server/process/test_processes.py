"""Launching real processes: what they load, how they fail, how they end."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from vfctl.errors import InputError, MissingError, PeerError, UsageError
from vfctl.graph import to_full_graph
from vfctl.graph.generators import generate
from vfctl.protocol import NODE_DTYPE, PositionUpdate, Trailer, encode
from vfctl.server.options import LiveGraph, Recording, ServerOptions
from vfctl.server.process import port, restarts
from vfctl.server.process.launch import Server, launch

SMALL = LiveGraph(generator="tree", nodes=12, at_rest=True)

GATEWAY_SCRIPT = """
import json, multiprocessing, os, signal, socket, sys, threading, time
from pathlib import Path
import numpy as np
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, Trailer, encode
from vfctl.bus import Envelope, Kind
from vfctl.server.process.gateway_process import run_gateway
from vfctl.server.options import ServerOptions
from vfctl.server.process.port import Port
from vfctl.server.scoreboard import Scoreboard

folder = Path(sys.argv[1])
bus = socket.socket(socket.AF_UNIX)
bus.bind(str(folder / "bus"))
bus.listen()
ours, theirs = multiprocessing.Pipe()

def source():
    peer, _ = bus.accept()
    graph = FullGraph(np.zeros(2, NODE_DTYPE), np.zeros(0, EDGE_DTYPE), None, Trailer(0, 1, 0))
    graph.nodes["id"] = [0, 1]
    peer.sendall(Envelope(Kind.GRAPH, encode(graph)).pack())
    print(json.dumps({"ready": type(ours.recv()).__name__, "modules": sorted(sys.modules)}), flush=True)
    ours.close()

threading.Thread(target=source).start()
run_gateway(ServerOptions(), 0, Port("127.0.0.1", 0, None), Scoreboard(1), folder / "bus", theirs)
"""

GENERATOR_SCRIPT = """
import json, multiprocessing, socket, sys, threading
from vfctl.loadtest.generator.plan import Target, plan_shards
from vfctl.loadtest.scenario.roles import ROLES
from vfctl.loadtest.generator.shard_process import Finish, Report, run_shard

ours, theirs = multiprocessing.Pipe()
port = int(sys.argv[1])
target = Target(socket.AF_INET, ("127.0.0.1", port), f"127.0.0.1:{port}", "/ws")

def parent():
    ours.send(Finish())
    while not isinstance(ours.recv(), Report):
        pass
    print(json.dumps({"ready": "Report", "modules": sorted(sys.modules)}), flush=True)

threading.Thread(target=parent).start()
run_shard(plan_shards(target, tuple(role() for role in ROLES), 3)[0], theirs)
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("script", "forbidden"), [(GATEWAY_SCRIPT, set()), (GENERATOR_SCRIPT, {"aiohttp", "asyncio", "pydantic"})]
)
def test_gateways_and_generators_stay_lean(script: str, forbidden: set[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        argument = str(tmp_path) if script is GATEWAY_SCRIPT else str(listener.getsockname()[1])
        done = subprocess.run([sys.executable, "-c", script, argument], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    assert said["ready"] in ("Ready", "Report")
    assert not {
        "jax",
        "jaxlib",
        "scipy.sparse",
        "scipy.special",
        "networkx",
        "rdflib",
        "typer",
        "rich",
        *forbidden,
    } & set(said["modules"])


@pytest.mark.processes
def test_a_server_from_start_to_stop() -> None:
    said: list[str] = []
    with launch(ServerOptions(source=SMALL, port=0), on_progress=said.append) as server:
        with urllib.request.urlopen(server.url.replace("ws://", "http://").replace("/ws", "/healthz")) as response:
            health = json.load(response)
        pids = server.pids
    assert (health["nodes"], health["settled"], health["interval_ms"]) == (12, True, 1000)
    assert server.details["source"] == "12 nodes, 11 edges"
    assert any("settling" in text for text in said)
    for pid in pids.values():
        assert not Path(f"/proc/{pid}").exists()
    with socket.socket() as again:
        assert again.connect_ex(("127.0.0.1", server.port)) != 0


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A source that starts faster than the physics: it needs no JAX."""
    graph = generate("tree", 12, 0)
    nodes = np.zeros(len(graph), NODE_DTYPE)
    nodes["id"] = graph.ids
    path = tmp_path_factory.mktemp("replayed") / "one.bin"
    update = encode(PositionUpdate(nodes, False, Trailer(1, 2, 0)))
    path.write_bytes(encode(to_full_graph(graph, nodes, trailer=Trailer(0, 1, 0))) + update)
    return Recording((str(path),))


@pytest.fixture(scope="module")
def running(replayed: Recording) -> Iterator[Server]:
    with launch(ServerOptions(source=replayed, port=0, workers=2, max_clients=50)) as server:
        yield server


@pytest.fixture
def pair(running: Server) -> Server:
    """A server with two gateways and no clients. A test may kill gateway 0, but must wait for its successor."""
    while running.scoreboard.clients:
        running.watch(0.01)
    return running


@pytest.mark.processes
def test_several_gateways_share_the_port_and_the_client_limit(pair: Server) -> None:
    assert set(pair.pids) == {"source", "gateway 0", "gateway 1"}
    with ExitStack() as stack:
        assert connect(pair, 80, stack) == {"101": 50, "503": 30}
        spread = [slot.clients for slot in pair.scoreboard]
        assert sum(spread) == 50
        assert all(spread)
        assert (health(pair)["clients"], health(pair)["max_clients"]) == (50, 50)


@pytest.mark.processes
def test_a_port_that_is_taken_even_by_a_server_of_our_own(pair: Server, replayed: Recording) -> None:
    """SO_REUSEPORT alone would let a second server share the first one's port in silence."""
    with pytest.raises(InputError, match=str(pair.port)):
        launch(ServerOptions(source=replayed, port=pair.port))


@pytest.mark.processes
def test_a_gateway_that_dies_is_restarted_and_the_others_stay(pair: Server) -> None:
    with ExitStack() as stack:
        connect(pair, 40, stack)
        staying = pair.scoreboard[1].clients
        before = pair.pids
        said = kill_and_watch(pair, 0)
        assert said == ["the gateway 0 process was killed by signal 9; it is restarted"]
        assert [name for name, pid in pair.pids.items() if before[name] != pid] == ["gateway 0"]
        assert [slot.clients for slot in pair.scoreboard] == [0, staying]
        assert connect(pair, 50 - staying, stack) == {"101": 50 - staying}
        assert pair.scoreboard[0].clients > 0


@pytest.mark.processes
def test_where_a_port_cannot_be_shared_the_gateways_inherit_a_socket(
    monkeypatch: pytest.MonkeyPatch, replayed: Recording
) -> None:
    monkeypatch.setattr(port, "can_share", lambda: False)
    with launch(ServerOptions(source=replayed, port=0, workers=2)) as server, ExitStack() as stack:
        assert connect(server, 20, stack) == {"101": 20}
        with pytest.raises(InputError, match=str(server.port)):
            launch(ServerOptions(source=replayed, port=server.port))
        kill_and_watch(server, 0)
        assert connect(server, 20, stack) == {"101": 20}
        os.kill(server.pids["source"], signal.SIGKILL)
        with pytest.raises(PeerError, match="the source process was killed by signal 9"):
            watch_forever(server)


@pytest.mark.processes
def test_a_gateway_that_dies_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch, replayed: Recording) -> None:
    monkeypatch.setattr(restarts, "RESTART_DELAYS_S", (0.1,))
    with launch(ServerOptions(source=replayed, port=0)) as server:
        said = kill_and_watch(server, 0)
        assert said == ["the gateway 0 process was killed by signal 9; it is restarted in 0.1 s"]
        with pytest.raises(PeerError, match=r"has died 2 times within 60 s; the last time: .* killed by signal 9"):
            kill_and_watch(server, 0)


def watch_forever(server: Server) -> None:
    while True:
        server.watch(10)


def health(server: Server) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz") as response:
        return json.load(response)


def connect(server: Server, count: int, stack: ExitStack) -> Counter[str]:
    """Try WebSocket handshakes. Returns how often each status code came; the stack closes the connections."""
    statuses: Counter[str] = Counter()
    for _ in range(count):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        statuses[client.recv(12).split()[1].decode()] += 1
    return statuses


def kill_and_watch(server: Server, number: int) -> list[str]:
    """Kill a gateway, and watch until there is another. Returns what the server logged."""
    said: list[str] = []
    os.kill(server.pids[f"gateway {number}"], signal.SIGKILL)
    while not said:
        server.watch(10, said.append)
    while not server.scoreboard[number].began_us:
        server.watch(10, said.append)
    return said


@pytest.mark.processes
def test_a_graph_that_cannot_be_loaded_is_the_callers_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.graphml"
    path.write_text("<graphml><graph></graphml>")
    with pytest.raises(InputError, match=r"broken\.graphml"):
        launch(ServerOptions(source=LiveGraph(file=str(path)), port=0))


@pytest.mark.processes
def test_processes_end_with_their_parent() -> None:
    """Even if it is killed: no orphan keeps the port."""
    script = (
        "import time; from vfctl.server.process.launch import launch; from vfctl.server.options import *\n"
        "if __name__ == '__main__':\n"
        "    server = launch(ServerOptions(source=LiveGraph(generator='tree', nodes=5), port=0))\n"
        "    print(*server.pids.values(), flush=True)\n"
        "    time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        watched = [os.pidfd_open(pid) for pid in pids]
        parent.kill()
        parent.wait()
    for descriptor in watched:
        assert select.select([descriptor], [], [], 10)[0], "a process has outlived its parent"
        os.close(descriptor)


@pytest.mark.processes
@pytest.mark.parametrize(
    "options",
    [
        ServerOptions(workers=0),
        ServerOptions(max_clients=0),
        ServerOptions(physics_hz=0),
        ServerOptions(active_interval_ms=-1),
        ServerOptions(host="no.such.host.invalid"),
    ],
)
def test_options_that_cannot_be(options: ServerOptions) -> None:
    with pytest.raises(UsageError):
        launch(options)


@pytest.mark.processes
def test_a_gpu_that_is_not_there_is_the_error_and_not_that_the_source_has_gone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(MissingError, match="JAX finds no usable GPU") as caught:
        launch(ServerOptions(source=LiveGraph(generator="tree", nodes=5, device="gpu"), port=0))
    assert caught.value.hint is not None
    assert "Traceback" not in capfd.readouterr().err
