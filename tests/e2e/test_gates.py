"""Gates, repeats and comparisons, with real processes."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import run

SHORT = ("--clients", "30", "--ramp", "0.2", "--duration", "2.2")


def test_repeated_runs_are_judged_by_their_median_and_compared(live: str, tmp_path: Path) -> None:
    base, again = tmp_path / "base.json", tmp_path / "again.json"
    code, _, errors = run("loadtest", live, *SHORT, "--gate", "latency_ms.p95 < 10s", "--json", base)
    assert code == 0, errors
    code, _, errors = run(
        *("loadtest", live, *SHORT, "--repeat", "2", "--json", again, "--baseline", base),
        *("--gate", "latency_ms.p95 <= 1 * baseline + 10s", "--gate", "voice_ms.p95 <= 2 * baseline"),
    )
    assert code == 3, errors
    assert "run 2 of 2" in errors
    document = json.loads(again.read_text())
    assert [(gate["passed"], gate["reason"]) for gate in document["gates"]] == [(True, ""), (False, "no data")]
    assert len(document["runs"]) == len(document["spread"]["latency_ms.p95"]["values"]) == 2
    code, output, errors = run("compare", base, again, "--min-ms", "10000", "--json")
    assert code == 0, errors
    assert json.loads(output)["verdict"] == "no difference"
    code, output, _ = run("gate", again, "--gate", "latency_ms.p95 < 0.0001 * baseline", "--baseline", base)
    assert (code, "failed" in output) == (3, True)


def test_a_hopeless_run_ends_early_and_says_why(live: str, tmp_path: Path) -> None:
    scenario, report = tmp_path / "hopeless.toml", tmp_path / "results.json"
    scenario.write_text(
        'clients = 30\nramp_s = 0.2\nduration_s = 40\nabort_gates = ["latency_ms.p50 < 1us after 1s"]\n'
    )
    code, _, errors = run("loadtest", live, "--scenario", scenario, "--json", report)
    assert code == 3, errors
    assert "ended early by the gate latency_ms.p50 < 1us after 1s" in errors
    document = json.loads(report.read_text())
    assert document["duration_s"] < 10
    assert document["aborted"] == document["gates"][0]
    assert document["interrupted"] is False
    assert document["latency_ms"]["count"] > 0


def test_two_servers_are_compared_in_one_run(live: str) -> None:
    code, output, errors = run("loadtest", "--ab", live, live, *SHORT, "--gate", "latency_ms.p95 < 10s", "--json", "-")
    document = json.loads(output)
    assert code == (3 if document["comparison"]["verdict"] == "slower" else 0), errors
    assert [document[side]["clients"]["connected"] for side in ("a", "b")] == [30, 30]
    assert all(document[side]["latency_ms"]["count"] > 0 for side in ("a", "b"))
    assert document["b"]["gates"][0]["passed"]
    assert "no difference" in errors or "B is" in errors
    code, output, errors = run("loadtest", "--ab", live, live, *SHORT[:4], "--duration", "0.5", "--json", "-")
    assert code == 4, errors
    assert json.loads(output)["comparison"] is None
    assert "two seconds" in errors


def test_a_gate_on_a_baseline_that_is_not_there_is_refused_before_the_run(tmp_path: Path) -> None:
    for arguments in (
        ("--gate", "latency_ms.p95 <= baseline"),
        ("--abort-gate", "latency_ms.p95 <= baseline after 1s"),
    ):
        code, _, errors = run("loadtest", "ws://127.0.0.1:9/ws", *arguments)
        assert code == 2
        assert "needs a baseline" in errors
    code, _, errors = run("gate", tmp_path / "none.json", "--gate", "latency_ms.p95 < 1")
    assert (code, "cannot read" in errors) == (1, True)
