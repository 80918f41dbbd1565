"""All reports of real runs, of one that goes to its end and of one that is interrupted."""

from __future__ import annotations

import csv
import json
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

import jsonschema

from vfctl.loadtest.results.schema import schema_of

from .conftest import REPORTS, Vfctl, report_options, wait_until_measuring


def test_one_run_writes_every_report_and_shows_its_metrics(live: str, tmp_path: Path) -> None:
    command = Vfctl(
        *("loadtest", live, "--clients", "20", "--ramp", "0.5", "--duration", "2", "--metrics-port", "0"),
        *("--gate", "latency_ms.p95 < 5000", "--gate", "clients.lost == 0", *report_options(tmp_path)),
    )
    url = command.wait_for(r"metrics of this run are on (http://127\.0\.0\.1:\d+/metrics)")[1]
    command.wait_for(r"stage 2 of 2")
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert b'vfctl_loadtest_clients{state="target"} 20.0' in answer.read()
    code, _ = command.finish()
    assert code == 0, command.errors
    results = json.loads((tmp_path / "json").read_text())
    jsonschema.validate(results, schema_of("loadtest"))
    assert not results["interrupted"]
    assert len(results["seconds"]) >= 2
    last = results["seconds"][-1]
    assert (last["connected"], last["stage"], last["measured"]) == (20, "hold", True)
    assert any(second["p95_ms"] for second in results["seconds"])
    assert any(second["cpu_percent"] > 0 for second in results["seconds"])
    rows = list(csv.DictReader((tmp_path / "csv").read_text().splitlines()))
    assert [row["connected"] for row in rows] == [str(second["connected"]) for second in results["seconds"]]
    suite = ElementTree.parse(tmp_path / "junit").find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "0"
    assert (tmp_path / "markdown").read_text().startswith("## ✅ vfctl loadtest: 20 clients, 2 s measured")
    assert "<title>vfctl loadtest: 20 clients" in (tmp_path / "html").read_text()


def test_an_interrupted_run_writes_every_report_marked_as_partial(live: str, tmp_path: Path) -> None:
    command = Vfctl(
        *("loadtest", live, "--clients", "10", "--ramp", "0.2", "--duration", "300", "--metrics-port", "0"),
        *report_options(tmp_path),
    )
    wait_until_measuring(command, 300)
    command.interrupt()
    code, _ = command.finish()
    assert code == 130, command.errors
    results = json.loads((tmp_path / "json").read_text())
    assert results["interrupted"] is True
    assert results["frames"]["received"] > 0
    assert 0 < results["duration_s"] < 300
    assert ElementTree.parse(tmp_path / "junit").find("testsuite/testcase/skipped") is not None
    assert "Partial." in (tmp_path / "markdown").read_text()
    assert "(partial)</title>" in (tmp_path / "html").read_text()
    assert len((tmp_path / "csv").read_text().splitlines()) >= 2


def test_a_run_that_is_interrupted_before_anything_was_measured_writes_every_report(live: str, tmp_path: Path) -> None:
    command = Vfctl("loadtest", live, "--clients", "10", "--ramp", "300", *report_options(tmp_path))
    command.wait_for(r"stage 1 of 2")
    command.interrupt()
    code, _ = command.finish()
    assert code == 130, command.errors
    assert json.loads((tmp_path / "json").read_text())["interrupted"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(REPORTS)
