"""Gates, repeats and comparisons, with real processes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema

from vfctl.loadtest.reports.wording import decision
from vfctl.loadtest.results.model import AbResults
from vfctl.loadtest.results.schema import schema_of

from .conftest import report_options, run

SHORT = ("--clients", "30", "--ramp", "0.2", "--duration", "1.4")
"""Long enough to be compared: it has latencies in two seconds."""


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
        'clients = 30\nramp_s = 0.2\nduration_s = 40\nabort_gates = ["latency_ms.p50 < 1us after 1.1s"]\n'
    )
    code, _, errors = run("loadtest", live, "--scenario", scenario, "--json", report)
    assert code == 3, errors
    assert "the run was ended early by the gate latency_ms.p50 < 1us after 1.1s" in errors
    document = json.loads(report.read_text())
    assert document["duration_s"] < 10
    assert document["aborted"] == document["gates"][0]
    assert document["interrupted"] is False
    assert document["latency_ms"]["count"] > 0


def test_two_servers_are_compared_in_one_run(live: str, tmp_path: Path) -> None:
    code, _, errors = run(
        *("loadtest", "--ab", live, live, *SHORT, *report_options(tmp_path), "--gate", "latency_ms.p95 < 10s"),
        *("--gate", "a.clients.lost == 0", "--gate", "comparison.difference_ms < 10s", "--gate", "b.voice_ms.p95 < 1"),
        *("--gate", "latency_ms.p95 <= 1 * baseline + 10s"),
    )
    assert code == 3, errors
    document = json.loads((tmp_path / "json").read_text())
    jsonschema.validate(document, schema_of("ab"))
    assert [document[side]["clients"]["connected"] for side in ("a", "b")] == [30, 30]
    assert all(document[side]["latency_ms"]["count"] > 0 for side in ("a", "b"))
    assert [gate["passed"] for gate in document["gates"]] == [True, True, True, False, True]
    assert document["gates"][3]["reason"] == "no data"
    assert [len(document[side]["gates"]) for side in ("a", "b")] == [1, 3]
    suite = ElementTree.parse(tmp_path / "junit").find("testsuite")
    assert suite is not None
    names = [case.get("name") for case in suite.findall("testcase")]
    assert names[:2] == ["B is not slower than A", "latency_ms.p95 < 10s"]
    assert [case.get("name") for case in suite.findall("testcase[failure]")][-1] == "b.voice_ms.p95 < 1"
    sentence = decision(AbResults.model_validate(document))
    assert sentence.rstrip(".").lower() in errors.lower()
    assert sentence in (tmp_path / "markdown").read_text().replace("\\", "")
    assert sentence in (tmp_path / "html").read_text().replace("&#39;", "'")
    sides = [line.split(",")[0] for line in (tmp_path / "csv").read_text().splitlines()]
    assert (sides[0], set(sides[1:])) == ("side", {"a", "b"})
    code, output, errors = run("compare", tmp_path / "json", "--json", "--report-only")
    assert code == 0, errors
    again = json.loads(output)
    jsonschema.validate(again, schema_of("compare"))
    assert again["difference_ms"] == document["comparison"]["difference_ms"]


def test_what_is_too_short_is_not_compared(live: str) -> None:
    code, output, errors = run("loadtest", "--ab", live, live, *SHORT[:4], "--duration", "0.3", "--json", "-")
    assert code == 4, errors
    assert json.loads(output)["comparison"] is None
    assert "two seconds" in errors


def test_a_hopeless_comparison_ends_early(live: str) -> None:
    code, output, errors = run(
        *("loadtest", "--ab", live, live, *SHORT[:4], "--duration", "60", "--json", "-"),
        *("--abort-gate", "b.latency_ms.p50 < 10s after 1.1s", "--abort-gate", "a.latency_ms.p50 < 1us after 1.1s"),
    )
    assert code == 3, errors
    document = json.loads(output)
    assert document["a"]["aborted"]["expression"] == "a.latency_ms.p50 < 1us after 1.1s"
    assert [gate["passed"] for gate in document["gates"]] == [True, False]
    assert document["a"]["duration_s"] < 30


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
