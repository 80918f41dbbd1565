"""Reports for programs: the results as JSON, the time series as CSV, and JUnit XML for Jenkins and GitLab."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as Xml

from pydantic import BaseModel

from vfctl.loadtest.reports.wording import (
    command,
    decision,
    failure,
    gate_finding,
    headline,
    nothing_measured,
    partial,
    sides_of,
)
from vfctl.loadtest.results.model import AbResults, GateVerdict, LoadtestResults, SecondMetrics

_FORBIDDEN: Final = re.compile("[^\t\n\r\\x20-\\ud7ff\\ue000-\\ufffd\U00010000-\U0010ffff]")
_PROPERTIES: Final = ("url", "peer", "began_at", "interrupted")
_COUNTED: Final = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def render_json(document: BaseModel) -> str:
    """One JSON object, as files of results have it; `vfctl schema` prints its schema."""
    return json.dumps(document.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n"


def render_csv(results: LoadtestResults | AbResults) -> str:
    """A header and one row for each of `seconds`; empty where there was no sample.

    Of two servers it is the rows of A, then those of B, with `side` before them.
    """
    sides: dict[str, Sequence[SecondMetrics]]
    if isinstance(results, AbResults):
        sides, first = {"a": results.a.seconds, "b": results.b.seconds}, ["side"]
    else:
        sides, first = {"": results.seconds}, []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*first, *SecondMetrics.model_fields])
    for side, seconds in sides.items():
        for second in seconds:
            values = (int(value) if isinstance(value, bool) else value for _, value in second)
            writer.writerow([*([side] if first else []), *values])
    return text.getvalue()


def render_junit(results: LoadtestResults | AbResults, *, strict: bool = False) -> str:
    """A `testsuites` document with one suite. Each gate is a test case.

    Every run has three more cases, because Jenkins treats a suite without cases as a failure: messages were received,
    the generator was not the bottleneck, and the run was complete. The last two are skipped, not failed, if they do not
    change the exit code. A run that failed is an error.

    Args:
        strict: a saturated generator, and clients that failed or were lost, are failures.
    """
    sides = sides_of(results)
    first = next(iter(sides.values()))
    duration_s = first.duration_s
    suite = Xml.Element(
        "testsuite",
        name=f"{command(results)}: {headline(results)}",
        timestamp=first.began_at[:19],
        time=f"{duration_s:.3f}",
    )
    properties = Xml.SubElement(suite, "properties")
    for name, side in sides.items():
        _add_properties(properties, side, f"{name.lower()}." if name else "")
    if isinstance(results, AbResults):
        _decision_case(suite, results)
    _gate_cases(suite, results.gates, duration_s)
    for name, side in sides.items():
        _health_cases(suite, side, strict, f"{name}: " if name else "")
    _end_case(suite, results)
    return _whole(suite)


def _add_properties(properties: Xml.Element, results: LoadtestResults, prefix: str) -> None:
    for name in _PROPERTIES:
        value = getattr(results, name)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        Xml.SubElement(properties, "property", name=prefix + name, value=_allowed(text))
    for name, value in results.latency_ms:
        if value is not None:
            Xml.SubElement(properties, "property", name=f"{prefix}latency_ms.{name}", value=f"{value:g}")


def _decision_case(suite: Xml.Element, results: AbResults) -> None:
    case = _case(suite, "comparison", "B is not slower than A", results.a.duration_s)
    if results.comparison is None:
        _verdict(case, "error", " ".join([decision(results), *results.warnings]))
    elif results.comparison.verdict == "slower":
        _verdict(case, "failure", decision(results))
    else:
        Xml.SubElement(case, "system-out").text = decision(results)


def _gate_cases(suite: Xml.Element, gates: Sequence[GateVerdict], time_s: float) -> None:
    for gate in gates:
        finding = gate_finding(gate)
        case = _case(suite, "gates", gate.expression, time_s)
        if gate.passed:
            Xml.SubElement(case, "system-out").text = finding
        else:
            _verdict(case, "failure", finding)


def _health_cases(suite: Xml.Element, results: LoadtestResults, strict: bool, prefix: str) -> None:
    case = _case(suite, "run", f"{prefix}messages were received")
    if reason := nothing_measured(results):
        _verdict(case, "failure", reason)
    case = _case(suite, "run", f"{prefix}the generator was not the bottleneck")
    generator, clients = results.generator, results.clients
    if generator.advice:
        kind = "failure" if strict else "skipped"
        _verdict(case, kind, f"{generator.verdict}: {generator.advice}")
    if strict:
        case = _case(suite, "run", f"{prefix}no client failed or was lost")
        if clients.failed or clients.lost:
            _verdict(case, "failure", f"{clients.failed:,} clients failed, {clients.lost:,} were lost")


def _end_case(suite: Xml.Element, results: LoadtestResults | AbResults) -> None:
    case = _case(suite, "run", "the run was complete")
    if reason := failure(results):
        _verdict(case, "error", reason)
    elif reason := partial(results):
        _verdict(case, "skipped", f"{reason} These are partial results.")


def _case(suite: Xml.Element, kind: str, name: str, time_s: float = 0.0) -> Xml.Element:
    return Xml.SubElement(suite, "testcase", classname=f"vfctl.loadtest.{kind}", name=name, time=f"{time_s:.3f}")


def _verdict(case: Xml.Element, kind: str, message: str) -> None:
    Xml.SubElement(case, kind, message=_allowed(message), type=kind).text = _allowed(message)


def _whole(suite: Xml.Element) -> str:
    counts = {"tests": str(len(suite.findall("testcase")))}
    counts |= {name: str(len(suite.findall(f"testcase/{kind}"))) for name, kind in _COUNTED.items()}
    suite.attrib.update(counts)
    del counts["skipped"]  # the outer element has no such attribute in Jenkins' schema
    root = Xml.Element("testsuites", counts, name="vfctl loadtest", time=suite.attrib["time"])
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _allowed(text: str) -> str:
    """XML 1.0 cannot represent most control characters, or lone surrogates."""
    return _FORBIDDEN.sub("\ufffd", text)
