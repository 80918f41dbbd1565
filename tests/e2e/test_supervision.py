"""Gateways and sources that die under load: who notices, and how soon all is well again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from vfctl.errors import PeerError
from vfctl.loadtest.control.conductor import Conductor, Stop
from vfctl.loadtest.control.live import Status
from vfctl.loadtest.control.run import run_loadtest
from vfctl.loadtest.control.target import resolve
from vfctl.loadtest.generator.plan import plan_shards
from vfctl.loadtest.results.build import build_results
from vfctl.loadtest.results.model import Clients
from vfctl.loadtest.scenario.model import EmbeddedServer, Scenario
from vfctl.server.process import restarts
from vfctl.server.process.launch import launch

from .conftest import Vfctl, run, spawned

CLIENTS = 300


def test_the_clients_of_a_gateway_that_is_killed_are_back_soon_and_the_others_notice_nothing() -> None:
    scenario = Scenario(
        clients=CLIENTS, duration_s=3.0, ramp_s=0.5, server=EmbeddedServer(nodes=20, state="active", workers=3)
    )
    said: list[str] = []
    affected: list[int] = []

    def kill_one(status: Status) -> None:
        if not affected and status.step.measured and status.elapsed_s > 0.8:
            affected.append(server.scoreboard[1].clients)
            os.kill(server.pids["gateway 1"], signal.SIGKILL)

    with launch(scenario.server.options(CLIENTS)) as server:
        url, target = resolve(server.url, None)
        shards = plan_shards(target, scenario.roles, CLIENTS)
        steps, watch = scenario.steps(), lambda: server.watch(0, said.append)
        with Conductor(shards, steps, kill_one, Stop(), watch) as conductor:
            results = build_results(url, "", scenario, conductor.run()).results
    assert affected[0] > CLIENTS / 6
    assert said == ["the gateway 1 process was killed by signal 9; it is restarted"]
    assert results.clients == Clients(
        target=CLIENTS, connected=CLIENTS, failed=0, lost=0, away=0, reconnects=affected[0]
    )
    assert results.frames.gaps == 0
    assert results.reconnect_ms.count == affected[0]
    assert results.reconnect_ms.max is not None
    assert results.reconnect_ms.max < 5000


def test_a_load_test_whose_own_server_dies_ends_with_its_error() -> None:
    def kill_source(status: Status) -> None:
        for child in multiprocessing.active_children():
            if child.name == "vfctl source" and status.step.measured:
                child.kill()

    scenario = Scenario(clients=20, duration_s=600.0, ramp_s=0.1, server=EmbeddedServer(nodes=20))
    results = run_loadtest(scenario, None, on_status=kill_source, embedded=True)
    assert isinstance(results.failure, PeerError)
    assert results.failure.message.startswith("the source process was killed by signal 9")
    assert not multiprocessing.active_children()


def test_a_server_says_that_a_gateway_has_been_started_again_and_goes_on() -> None:
    server = Vfctl("serve", "--port", "0", "--nodes", "20", "--workers", "2", "--max-clients", "40000")
    url = server.wait_for(r"serving .* on (ws://\S+)")[1]
    _, *gateways = spawned(server.process.pid)
    os.kill(gateways[1], signal.SIGKILL)
    server.wait_for("the gateway 1 process was killed by signal 9; it is restarted")
    code, _, errors = run("loadtest", url, "--clients", "20", "--duration", "0.5", "--gate", "clients.failed == 0")
    assert code == 0, errors
    server.interrupt()
    code, _ = server.finish()
    assert code == 0, server.errors
    assert "2 gateways, up to " in server.errors


def test_a_gateway_that_hangs_is_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "HANG_TIMEOUT_S", 0.5)
    monkeypatch.setattr(restarts, "MIN_HANG_POLLS", 5)
    said: list[str] = []
    with launch(EmbeddedServer(nodes=20).options(10)) as server:
        hanging = server.pids["gateway 0"]
        os.kill(hanging, signal.SIGSTOP)
        deadline_s = time.monotonic() + 20
        while server.pids["gateway 0"] == hanging or not server.scoreboard[0].began_us:
            assert time.monotonic() < deadline_s
            server.watch(0.05, said.append)
            time.sleep(0.01)
        assert said == [
            "the gateway 0 process hangs and is killed",
            "the gateway 0 process was killed by signal 9; it is restarted",
        ]
