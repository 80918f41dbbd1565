"""Where reports go: several at once, whole or not at all, known beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vfctl.cli.app import run
from vfctl.cli.loadtest_reports import ReportPaths, append_summary, write_report, write_reports
from vfctl.errors import InputError, UsageError
from vfctl.loadtest.results.schema import DOCUMENTS, schema_of

NOWHERE = "ws://127.0.0.1:9/ws"


@pytest.mark.parametrize("option", ["--json", "--junit", "--markdown", "--html", "--csv"])
def test_a_path_that_cannot_be_written_is_found_before_the_run(
    option: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing" / "report"
    assert run(["loadtest", NOWHERE, option, str(missing)]) == 1
    assert f"cannot write {missing}" in capfd.readouterr().err


@pytest.mark.parametrize("place", ["-", "same.file"])
def test_two_reports_do_not_go_to_one_place(place: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["loadtest", NOWHERE, "--json", place, "--csv", place]) == 2
    assert "--json and --csv both write to" in capfd.readouterr().err
    with pytest.raises(UsageError):
        ReportPaths(junit=Path(place), html=Path(place)).check()


def test_a_report_that_fails_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in (
        "as_data.render_junit",
        "as_html.render",
        "as_data.render_csv",
        "as_data.render_json",
        "as_markdown.render",
    ):
        monkeypatch.setattr(f"vfctl.loadtest.reports.{name}", lambda *_, text=name, **__: text)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    gone = tmp_path / "gone"
    paths = ReportPaths(gone / "r.json", tmp_path / "r.xml", gone / "r.md", tmp_path / "r.html", Path("-"))
    results: Any = None
    with pytest.raises(InputError, match=r"r\.json"):
        write_reports(paths, results)
    assert (tmp_path / "r.xml").read_text() == "as_data.render_junit"
    assert (tmp_path / "r.html").read_text() == "as_html.render"
    printed = capfd.readouterr()
    assert printed.out == "as_data.render_csv"
    assert "r.md" in printed.err


def test_a_report_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")
    write_report(path, "new")
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_the_job_summary_is_added_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "summary.md"
    path.write_text("# what others wrote\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    append_summary(lambda: "## one")
    append_summary(lambda: "## two")
    assert path.read_text() == "# what others wrote\n## one\n## two\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    append_summary(lambda: "## three")
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_schema_is_printed(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", name]) == 0
    assert json.loads(capfd.readouterr().out) == schema_of(name)


def test_a_link_to_a_report_is_the_same_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "report")
    assert run(["loadtest", NOWHERE, "--json", str(tmp_path / "report"), "--html", str(tmp_path / "link")]) == 2
