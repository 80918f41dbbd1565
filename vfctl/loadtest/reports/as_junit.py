"""JUnit XML, as Jenkins and GitLab read it: every gate is a test case."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree as Xml

from vfctl.loadtest.reports.figures import decision, failure, gate_finding, headline, partial

_FORBIDDEN: Final = re.compile("[^\t\n\r\\x20-\\ud7ff\\ue000-\\ufffd\U00010000-\U0010ffff]")
_PROPERTIES: Final = ("url", "peer", "began_at", "interrupted")
_COUNTED: Final = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def render(document: Mapping[str, Any], *, strict: bool = False) -> str:
    """A `testsuites` document with one suite.

    Beside the gates there are cases that every run has, since Jenkins takes a suite without any for a failure: that
    something was measured, that the generator was not the bottleneck, that the run went to its end. The last two are
    skipped, not failed, where the exit code does not mind either; a run that failed is an error.

    Args:
        document: results of schema `vfctl.loadtest`.
        strict: a generator that was saturated, and clients that failed or were lost, are failures.
    """
    suite = _suite(f"vfctl loadtest: {headline(document)}", document)
    _add_properties(suite, document)
    _gate_cases(suite, document["gates"], document["duration_s"])
    _health_cases(suite, document, strict)
    _end_case(suite, document)
    return _whole(suite)


def render_ab(document: Mapping[str, Any], *, strict: bool = False) -> str:
    """The same of two servers: a case for the decision, the gates, and what every run has for each of both.

    Args:
        document: results of schema `vfctl.ab`.
    """
    a, b = document["a"], document["b"]
    suite = _suite(f"vfctl loadtest --ab: {headline(a)}", a)
    for name, side in (("a.", a), ("b.", b)):
        _add_properties(suite, side, name)
    case = _case(suite, "comparison", "B is not slower than A", a["duration_s"])
    if document["comparison"] is None:
        _verdict(case, "error", " ".join([decision(document), *document["warnings"]]))
    elif document["comparison"]["verdict"] == "slower":
        _verdict(case, "failure", decision(document))
    else:
        Xml.SubElement(case, "system-out").text = decision(document)
    _gate_cases(suite, document["gates"], a["duration_s"])
    for name, side in (("A: ", a), ("B: ", b)):
        _health_cases(suite, side, strict, name)
    _end_case(suite, {**a, "failure": document["failure"]})
    return _whole(suite)


def _suite(name: str, document: Mapping[str, Any]) -> Xml.Element:
    time_s = f"{document['duration_s']:.3f}"
    suite = Xml.Element("testsuite", name=name, timestamp=document["began_at"][:19], time=time_s)
    Xml.SubElement(suite, "properties")
    return suite


def _add_properties(suite: Xml.Element, document: Mapping[str, Any], prefix: str = "") -> None:
    properties = suite[0]
    for name in _PROPERTIES:
        value = document[name]
        text = str(value).lower() if isinstance(value, bool) else str(value)
        Xml.SubElement(properties, "property", name=prefix + name, value=_allowed(text))
    for name, value in document["latency_ms"].items():
        if value is not None:
            Xml.SubElement(properties, "property", name=f"{prefix}latency_ms.{name}", value=f"{value:g}")


def _gate_cases(suite: Xml.Element, gates: Sequence[Mapping[str, Any]], time_s: float) -> None:
    for gate in gates:
        finding = gate_finding(gate)
        case = _case(suite, "gates", gate["expression"], time_s)
        if gate["passed"]:
            Xml.SubElement(case, "system-out").text = finding
        else:
            _verdict(case, "failure", finding)


def _health_cases(suite: Xml.Element, document: Mapping[str, Any], strict: bool, prefix: str = "") -> None:
    case = _case(suite, "run", f"{prefix}something was measured")
    if not document["throughput"]["messages_per_s"]:
        _verdict(case, "failure", "not a single message was received in the measured time")
    case = _case(suite, "run", f"{prefix}the generator was not the bottleneck")
    generator = document["generator"]
    if generator["advice"]:
        kind = "failure" if strict else "skipped"
        _verdict(case, kind, f"{generator['verdict']}: {generator['advice']}")
    clients = document["clients"]
    if strict:
        case = _case(suite, "run", f"{prefix}no client failed or was lost")
        if clients["failed"] or clients["lost"]:
            _verdict(case, "failure", f"{clients['failed']:,} clients failed, {clients['lost']:,} were lost")


def _end_case(suite: Xml.Element, document: Mapping[str, Any]) -> None:
    case = _case(suite, "run", "the run went to its end")
    if reason := failure(document):
        _verdict(case, "error", reason)
    elif reason := partial(document):
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
    """XML 1.0 has no way to write most control characters, nor single surrogates."""
    return _FORBIDDEN.sub("\ufffd", text)
