"""JUnit XML, Markdown, CSV and the schema of the results."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lxml import etree
from pydantic import BaseModel

from vfctl.errors import PeerError
from vfctl.loadtest.control.noise import score
from vfctl.loadtest.generator.observations import Observations
from vfctl.loadtest.reports import as_data, as_html, as_markdown
from vfctl.loadtest.reports.charts import over_time
from vfctl.loadtest.results.comparable import compare_sides
from vfctl.loadtest.results.model import (
    AbResults,
    Comparison,
    ComparisonDocument,
    FindResults,
    GateVerdict,
    LoadtestResults,
    Probe,
)
from vfctl.loadtest.results.repeats import fold
from vfctl.loadtest.results.schema import DOCUMENTS, schema_of
from vfctl.loadtest.scenario.gates import parse_gate

from .conftest import MakeReportable, a_second, with_gates

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit.xsd")))


def closed(schema: Any) -> Any:
    """The same schema without room for keys that it does not describe."""
    if isinstance(schema, dict):
        found = {key: closed(value) for key, value in schema.items()}
        return {"additionalProperties": False, **found} if "properties" in schema else found
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


def check_schema(document: BaseModel, name: str = "loadtest") -> None:
    jsonschema.validate(json.loads(as_data.render_json(document)), closed(schema_of(name)))


def junit(results: LoadtestResults | AbResults, *, strict: bool = False) -> Any:
    root = etree.fromstring(as_data.render_junit(results, strict=strict).encode())
    SCHEMA.assertValid(root)
    suite = root.find("testsuite")
    assert int(suite.get("tests")) == len(suite.findall("testcase"))
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert int(suite.get("errors")) == int(root.get("errors")) == len(suite.findall("testcase/error"))
    assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))
    return suite


def case(suite: Any, name: str) -> Any:
    (found,) = (each for each in suite.findall("testcase") if each.get("name") == name)
    return found


def test_a_gate_is_a_test_case_with_value_and_limit_in_its_failure(reportable: MakeReportable) -> None:
    suite = junit(with_gates(reportable()))
    assert case(suite, "latency_ms.p95 < 30").find("failure") is None
    failure = case(suite, "latency_ms.p99 < 0.1").find("failure")
    assert failure.get("message").startswith("latency_ms.p99 < 0.1: failed, the value is 5.")
    assert failure.get("message").endswith(" ms and the limit 0.1 ms")
    assert case(suite, "voice_ms.p95 < 200").find("failure").get("message") == "voice_ms.p95 < 200: no data"
    assert suite.get("timestamp") == "2023-11-14T22:13:20"
    assert suite.get("failures") == "2"


def test_a_run_without_gates_still_has_test_cases(reportable: MakeReportable) -> None:
    suite = junit(reportable())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "0", "0")


def test_what_strict_minds_fails_only_with_strict(reportable: MakeReportable) -> None:
    results = with_gates(reportable(saturated=True), "latency_ms.p95 < 30")
    lenient, strict = junit(results), junit(results, strict=True)
    name = "the generator was not the bottleneck"
    assert case(lenient, name).find("skipped").get("message").startswith("generator saturated: 1 of 1")
    assert case(strict, name).find("failure") is not None
    found = case(strict, "no client failed or was lost").find("failure").get("message")
    assert found == "1 clients failed, 2 were lost"


def test_a_partial_run_is_marked_in_every_report(reportable: MakeReportable) -> None:
    results = with_gates(reportable(interrupted=True))
    assert "interrupted" in case(junit(results), "the run was complete").find("skipped").get("message")
    assert "> **Partial.** The run was interrupted before its end." in as_markdown.render(results)


def test_an_aborted_run_is_partial_and_says_by_which_gate(reportable: MakeReportable) -> None:
    aborted = GateVerdict(expression="latency_ms.p95 < 1 after 2s", value=4.25, passed=False, limit=1.0, reason="")
    results = with_gates(reportable()).model_copy(update={"aborted": aborted})
    message = case(junit(results), "the run was complete").find("skipped").get("message")
    assert "latency_ms.p95 < 1 after 2s: failed, the value is 4.25 ms and the limit 1 ms." in message
    assert "> **Partial.** The run was ended early by an abort gate" in as_markdown.render(results)


def test_names_that_others_have_chosen_break_neither_xml_nor_markdown(reportable: MakeReportable) -> None:
    results = reportable(peer="<b>|`&\n\x1b[31m]]>", url="ws://x/?a=1&b=<script>")
    properties = {each.get("name"): each.get("value") for each in junit(results).iter("property")}
    assert properties["url"] == "ws://x/?a=1&b=<script>"
    assert properties["peer"] == "<b>|`&\n\ufffd[31m]]>"
    assert "(\\<b\\>\\|\\`& \x1b\\[31m\\]\\]\\>)" in as_markdown.render(results)


def test_markdown_has_the_verdict_gates_and_figures(reportable: MakeReportable) -> None:
    text = as_markdown.render(with_gates(reportable(saturated=True)))
    assert text.startswith("## ❌ vfctl loadtest: 300 clients, 10 s measured\n")
    assert "| `voice_ms.p95 < 200` | no data | 200 ms | ❌ **failed** |" in text
    assert "> **generator saturated:**" in text
    assert "1 failed, 2 lost" in text
    assert "| error | 3 | connection reset |" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    tables = text.split("\n\n")
    assert rows
    for table in tables:
        widths = {line.replace("\\|", "").count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, table
    assert as_markdown.render(with_gates(reportable(), "latency_ms.p95 < 30")).startswith("## ✅")


def test_csv_has_a_row_a_second(reportable: MakeReportable) -> None:
    results = reportable(seconds=5)
    silent = results.seconds[4].model_copy(update={"p50_ms": None})
    results = results.model_copy(update={"seconds": [*results.seconds[:4], silent]})
    rows = list(csv.DictReader(io.StringIO(as_data.render_csv(results))))
    assert [row["t_s"] for row in rows] == list("01234")
    assert [row["measured"] for row in rows] == ["0", "0", "0", "1", "1"]
    assert [float(row["bytes_per_s"]) for row in rows] == [second.bytes_per_s for second in results.seconds]
    assert rows[4]["p50_ms"] == ""


def test_the_schema_is_one_and_describes_every_key_of_the_results(reportable: MakeReportable) -> None:
    schema = schema_of("loadtest")
    jsonschema.Draft202012Validator.check_schema(schema)
    for results in (reportable(), reportable(interrupted=True, seconds=0)):
        check_schema(with_gates(results))


def test_repeated_runs_are_described_and_told(reportable: MakeReportable) -> None:
    results = fold([reportable(url=f"ws://{number}/") for number in range(3)])
    check_schema(results)
    assert "3 runs: metrics are medians" in as_markdown.render(results)
    assert junit(results).get("tests") == "3"


def test_a_run_that_failed_is_an_error_in_every_report(reportable: MakeReportable) -> None:
    results = with_gates(reportable(failure=PeerError("a `generator` died")), "latency_ms.p95 < 30")
    check_schema(results)
    suite = junit(results)
    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")
    message = case(suite, "the run was complete").find("error").get("message")
    assert message == "The run failed: a `generator` died."
    text = as_markdown.render(results)
    assert text.startswith("## ❌")
    assert "> **Failed.** The run failed: a \\`generator\\` died." in text


def test_what_makes_the_exit_code_makes_the_reports(reportable: MakeReportable) -> None:
    """A job that fails should not have a green mark in its summary."""
    results = with_gates(reportable(saturated=True), "latency_ms.p95 < 30")
    sentence = "With --strict: generator saturated; 1 client failed; 2 clients were lost."
    for strict in (False, True):
        text, page = as_markdown.render(results, strict=strict), as_html.render(results, strict=strict)
        assert text.startswith("## ❌" if strict else "## ✅")
        assert (sentence in text) is (sentence in page) is ("(failed)</title>" in page) is strict


def test_a_run_that_has_measured_nothing_has_not_passed(make_results: MakeReportable) -> None:
    results = with_gates(make_results(Observations()), "clients.lost == 0")
    assert results.gates[0].passed
    text = as_markdown.render(results)
    assert text.startswith("## ❌")
    assert "> **Failed.** No message was received in the measured time." in text
    page = as_html.render(results)
    assert "<strong>Failed.</strong> No message" in page
    text = as_markdown.render(results.model_copy(update={"interrupted": True}))
    assert "**Failed.**" not in text
    assert "**Partial.**" in text


def test_a_side_that_has_measured_nothing_is_told(reportable: MakeReportable, make_results: MakeReportable) -> None:
    both = compare_sides(reportable(), make_results(Observations()), [])
    why = "B: No message was received in the measured time."
    assert why in as_markdown.render(both)
    assert why in as_html.render(both)


def test_two_servers_are_one_report(reportable: MakeReportable) -> None:
    gates = [parse_gate(gate) for gate in ("latency_ms.p95 <= baseline", "b.voice_ms.p95 < 9")]
    both = compare_sides(reportable(), reportable(saturated=True, peer="x|y"), gates)
    check_schema(both, "ab")
    assert [gate.passed for gate in both.gates] == [True, False]
    suite = junit(both)
    assert case(suite, "B is not slower than A").find("error").get("message").startswith("The two could not")
    assert case(suite, "A: the generator was not the bottleneck").find("skipped") is None
    assert case(suite, "B: the generator was not the bottleneck").find("skipped") is not None
    text = as_markdown.render(both)
    assert text.startswith("## ❌ vfctl loadtest --ab: 300 clients")
    assert "| latency P95 ms | " in text
    assert "> **B: generator saturated:**" in text
    for table in text.split("\n\n"):
        widths = {line.replace("\\|", "").count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, table
    rows = list(csv.DictReader(io.StringIO(as_data.render_csv(both))))
    assert [row["side"] for row in rows] == ["a"] * 12 + ["b"] * 12
    both = both.model_copy(update={"comparison": SLOWER})
    failure = case(junit(both), "B is not slower than A").find("failure")
    assert failure.get("message").startswith("B is slower by 5.00 ms (4.90 to 5.10)")
    check_schema(both, "ab")


SLOWER = Comparison(
    **dict(zip(Comparison.model_fields, ("slower", 95.0, 95.0, 1.0, 6.0, 5.0, 4.9, 5.1, 0.2, 1, 1), strict=True))
)


def test_every_document_that_is_written_has_a_schema(reportable: MakeReportable) -> None:
    results = reportable()
    probe = Probe(load=300.0, held=True, results=results)
    documents: dict[str, BaseModel] = {
        "find": FindResults(schema="vfctl.find/1", find="clients", load=300.0, at_limit=True, probes=[probe]),
        "noise": score([results, results, results]),
        "compare": ComparisonDocument(schema="vfctl.compare/1", **dict(SLOWER), warnings=["careful"]),
    }
    for name, document in documents.items():
        schema = schema_of(name)
        jsonschema.Draft202012Validator.check_schema(schema)
        check_schema(document, name)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document.model_dump(by_alias=True), "schema": "vfctl.loadtest/3"}, schema)
    assert {"loadtest", "ab", "bandwidth", *documents} == set(DOCUMENTS), "the first three are validated where they are"


@pytest.mark.parametrize("key", ["latency_ms", "seconds", "schema"])
def test_the_schema_refuses_what_is_not_results(reportable: MakeReportable, key: str) -> None:
    document = {**json.loads(as_data.render_json(reportable())), key: "vfctl.loadtest/0"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema_of("loadtest"))


def test_only_measured_seconds_are_shaded_also_within_a_stage() -> None:
    seconds = [
        a_second(0, stage=stage, measured=measured)
        for stage, measured in (("ramp", False), ("hold", False), ("hold", True), ("hold", True), ("peak", True))
    ]
    chart = over_time("clients", "", "", seconds, {"clients": [1] * 5})
    whole = chart.bands[0].width * 5 / 2
    assert [band.width for band in chart.bands] == [pytest.approx(whole * share, abs=0.2) for share in (0.4, 0.2)]
