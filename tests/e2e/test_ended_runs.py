"""Runs that do not go to their end: whatever ends them, every report is there and says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import websockets

from vfctl.errors import PeerError
from vfctl.loadtest.control.conductor import Stop
from vfctl.loadtest.control.live import Status
from vfctl.loadtest.control.run import run_loadtest
from vfctl.loadtest.results.schema import schema_of
from vfctl.loadtest.scenario.model import Scenario

from .conftest import Vfctl, report_options, run, spawned

SMALL = ("--clients", "10", "--ramp", "0.1")


def reports(folder: Path, schema: str = "loadtest") -> tuple[dict[str, Any], Any, str, str]:
    """The results, the JUnit suite, the Markdown and the page."""
    results = json.loads((folder / "json").read_text())
    jsonschema.validate(results, schema_of(schema))
    suite = ElementTree.parse(folder / "junit").find("testsuite")
    assert suite is not None
    assert (folder / "csv").read_text().startswith(("t_s,", "side,"))
    return results, suite, (folder / "markdown").read_text(), (folder / "html").read_text()


def says_failed(folder: Path, why: str, schema: str = "loadtest") -> dict[str, Any]:
    """All reports, marked as failed for that reason."""
    results, suite, markdown, page = reports(folder, schema)
    assert why in results["failure"]
    assert suite.get("errors") != "0"
    errors = suite.findall("testcase/error")
    assert any(why in error.get("message") for error in errors)
    assert markdown.startswith("## ❌")
    assert f"**Failed.** The run failed: {why[:9]}" in markdown.replace("\\", "")
    assert "(failed)</title>" in page
    assert "<strong>Failed.</strong>" in page
    return results


def test_nobody_there(tmp_path: Path) -> None:
    gate = ("--gate", "clients.lost == 0")
    code, _, errors = run("loadtest", "ws://127.0.0.1:1/ws", *report_options(tmp_path), *gate)
    assert code == 4
    results = says_failed(tmp_path, "nothing answers at ws://127.0.0.1:1/ws: connection refused")
    assert (results["latency_ms"]["count"], results["stages"], results["interrupted"]) == (0, [], False)
    assert errors.count("connection refused") == 1


def test_one_of_two_servers_is_not_there(live: str, tmp_path: Path) -> None:
    code, _, errors = run("loadtest", "--ab", live, "ws://127.0.0.1:1/ws", *report_options(tmp_path))
    assert code == 4, errors
    says_failed(tmp_path, "nothing answers at ws://127.0.0.1:1/ws", "ab")


@pytest.mark.parametrize(
    ("who", "why"), [(-1, "generator process 0 died with exit code -9"), (0, "the source process")]
)
def test_a_process_dies(who: int, why: str, tmp_path: Path) -> None:
    command = Vfctl("loadtest", "--nodes", "20", "--active", *SMALL, "--duration", "60", *report_options(tmp_path))
    command.wait_for(r"stage 2 of 2")
    os.kill(spawned(command.process.pid)[who], signal.SIGKILL)
    code, _ = command.finish()
    assert code == 4, command.errors
    assert "Traceback" not in command.errors
    results = says_failed(tmp_path, why)
    assert results["duration_s"] < 30
    if who == 0:
        assert results["clients"]["target"] == 10, "the generator could still tell what it has seen"


async def test_a_server_goes_away(tmp_path: Path) -> None:
    async def serve_briefly(connection: websockets.ServerConnection) -> None:
        for _ in range(3):
            await connection.send(b"something")
            await asyncio.sleep(0.2)
        server.close()

    arguments = [*SMALL, "--duration", "1.5", *report_options(tmp_path)]
    async with websockets.serve(serve_briefly, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        command = await asyncio.to_thread(Vfctl, "loadtest", url, *arguments)
        code, _ = await asyncio.to_thread(command.finish)
    assert code == 4, command.errors
    results = says_failed(tmp_path, "no client is connected any more")
    assert results["clients"]["lost"] == 10


def test_the_second_of_three_runs_is_interrupted(live: str, tmp_path: Path) -> None:
    command = Vfctl("loadtest", live, *SMALL, "--duration", "1.2", "--repeat", "3", *report_options(tmp_path))
    command.wait_for(r"run 2 of 3[\s\S]*stage 2 of 2")
    command.interrupt()
    code, _ = command.finish()
    assert code == 130, command.errors
    results, suite, markdown, page = reports(tmp_path)
    assert results["repeat"] == {"asked": 3, "begun": 2, "counted": 1}
    assert (results["interrupted"], results["duration_s"]) == (True, pytest.approx(1.2, abs=0.05))
    text = "The run was interrupted before its end. It was run 2 of 3. The metrics are from the run before."
    assert text in markdown
    assert text in page
    assert suite.find("testcase/skipped") is not None


def test_a_pipeline_that_is_cancelled(live: str, tmp_path: Path) -> None:
    """By SIGTERM, as most of them do it."""
    command = Vfctl("loadtest", live, *SMALL, "--duration", "60", *report_options(tmp_path))
    command.wait_for(r"stage 2 of 2")
    command.process.terminate()
    code, _ = command.finish()
    results, *_ = reports(tmp_path)
    assert (code, results["interrupted"], results["failure"]) == (130, True, None)


def test_the_second_interrupt_stops_at_once(live: str, tmp_path: Path) -> None:
    command = Vfctl("loadtest", live, "--clients", "10", "--ramp", "300", *report_options(tmp_path))
    command.wait_for(r"stage 1 of 2")
    os.kill(command.process.pid, signal.SIGSTOP)  # both signals are there before it can look
    command.interrupt()
    command.process.terminate()
    os.kill(command.process.pid, signal.SIGCONT)
    code, _ = command.finish()
    assert code == 130
    assert "Traceback" not in command.errors


def test_an_interrupt_that_hits_a_starting_server_is_not_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()

    def hit(*_: Any, **__: Any) -> None:
        stop.request()
        raise PeerError("the source process was killed by signal 2")

    monkeypatch.setattr("vfctl.loadtest.control.run.launch", hit)
    results = run_loadtest(Scenario(clients=2), None, stop=stop, embedded=True).results
    assert (results.interrupted, results.failure) == (True, None)
    stop.requested = False
    monkeypatch.setattr(
        "vfctl.loadtest.control.run.launch", lambda *_, **__: (_ for _ in ()).throw(PeerError("no port"))
    )
    results = run_loadtest(Scenario(clients=2), None, stop=stop, embedded=True).results
    assert (results.interrupted, results.failure) == (False, "no port")


def test_an_interrupt_waits_for_no_generator_that_has_not_begun(live: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may still be importing, and have nothing to report: that is no failure."""
    monkeypatch.setattr("vfctl.loadtest.control.conductor.FINISH_TIMEOUT_S", 0.1)
    stop = Stop()
    stop.request()
    results = run_loadtest(Scenario(clients=2), live, stop=stop).results
    assert (results.interrupted, results.failure, results.stages) == (True, None, [])


def test_an_interrupt_while_results_are_collected_changes_nothing(live: str) -> None:
    stop = Stop()

    def on_status(status: Status) -> None:
        if status.finishing:
            stop.request()

    scenario = Scenario(clients=5, ramp_s=0.1, duration_s=0.3)
    results = run_loadtest(scenario, live, on_status=on_status, stop=stop).results
    assert stop.requested
    assert (results.interrupted, results.failure) == (False, None)
    assert results.clients.connected == 5
