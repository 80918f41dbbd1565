"""JUnit XML, as Jenkins and GitLab read it: every gate is a test case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as Xml

from vfctl.loadtest.reports.figures import gate_finding, headline, partial

_FORBIDDEN: Final = re.compile("[^\t\n\r\\x20-\\ud7ff\\ue000-\\ufffd\U00010000-\U0010ffff]")
_PROPERTIES: Final = ("url", "peer", "began_at", "interrupted")


def render(document: Mapping[str, Any], *, strict: bool = False) -> str:
    """A `testsuites` document with one suite.

    Beside the gates there are cases that every run has, since Jenkins takes a suite without any for a failure: that
    something was measured, that the generator was not the bottleneck, that the run went to its end. The last two are
    skipped, not failed, where the exit code does not mind either.

    Args:
        document: results of schema `vfctl.loadtest`.
        strict: a generator that was saturated, and clients that failed or were lost, are failures.
    """
    suite = Xml.Element("testsuite", name=f"vfctl loadtest: {headline(document)}", timestamp=document["began_at"][:19])
    properties = Xml.SubElement(suite, "properties")
    for name in _PROPERTIES:
        value = document[name]
        text = str(value).lower() if isinstance(value, bool) else str(value)
        Xml.SubElement(properties, "property", name=name, value=_allowed(text))
    for name, value in document["latency_ms"].items():
        if value is not None:
            Xml.SubElement(properties, "property", name=f"latency_ms.{name}", value=f"{value:g}")
    for gate in document["gates"]:
        finding = gate_finding(gate)
        case = _case(suite, "gates", gate["expression"], document["duration_s"])
        if gate["passed"]:
            Xml.SubElement(case, "system-out").text = finding
        else:
            _verdict(case, "failure", finding)
    _health_cases(suite, document, strict)
    failures, skipped = (len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "skipped"))
    counts = {"tests": str(len(suite.findall("testcase"))), "failures": str(failures), "errors": "0"}
    time_s = f"{document['duration_s']:.3f}"
    suite.attrib.update(counts, skipped=str(skipped), time=time_s)
    root = Xml.Element("testsuites", counts, name="vfctl loadtest", time=time_s)
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _health_cases(suite: Xml.Element, document: Mapping[str, Any], strict: bool) -> None:
    case = _case(suite, "run", "something was measured")
    if not document["throughput"]["messages_per_s"]:
        _verdict(case, "failure", "not a single message was received in the measured time")
    case = _case(suite, "run", "the generator was not the bottleneck")
    generator = document["generator"]
    if generator["advice"]:
        kind = "failure" if strict else "skipped"
        _verdict(case, kind, f"{generator['verdict']}: {generator['advice']}")
    clients = document["clients"]
    if strict:
        case = _case(suite, "run", "no client failed or was lost")
        if clients["failed"] or clients["lost"]:
            _verdict(case, "failure", f"{clients['failed']:,} clients failed, {clients['lost']:,} were lost")
    case = _case(suite, "run", "the run went to its end")
    if reason := partial(document):
        _verdict(case, "skipped", f"{reason} These are partial results.")


def _case(suite: Xml.Element, kind: str, name: str, time_s: float = 0.0) -> Xml.Element:
    return Xml.SubElement(suite, "testcase", classname=f"vfctl.loadtest.{kind}", name=name, time=f"{time_s:.3f}")


def _verdict(case: Xml.Element, kind: str, message: str) -> None:
    Xml.SubElement(case, kind, message=_allowed(message), type=kind).text = _allowed(message)


def _allowed(text: str) -> str:
    """XML 1.0 has no way to write most control characters, nor single surrogates."""
    return _FORBIDDEN.sub("\ufffd", text)
