"""Markdown for a job's summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vfctl.loadtest.reports.figures import (
    decision,
    fault,
    fault_of_two,
    gate_limit,
    gate_value,
    headline,
    partial,
    repeats,
)
from vfctl.quantities import format_byte_rate, format_three_digits

_LATENCIES: Final = (
    ("latency", "latency_ms", True),
    ("against the schedule", "latency_corrected_ms", True),
    ("voice, mouth to ear", "voice_ms", False),
    ("connect", "connect_ms", True),
    ("back after a loss", "reconnect_ms", False),
)
_PERCENTILES: Final = ("p50", "p95", "p99", "max")
_ERRORS_SHOWN: Final = 8


def render(document: Mapping[str, Any], *, strict: bool = False) -> str:
    """GitHub's dialect: the verdict, what makes it doubtful, the gates, then the figures.

    Args:
        document: results of schema `vfctl.loadtest`.
        strict: see `fault`.
    """
    gates, reason = document["gates"], fault(document, strict=strict)
    failed = reason or not all(gate["passed"] for gate in gates)
    mark = "❌" if failed else "✅" if gates else "📈"
    lines = [f"## {mark} vfctl loadtest: {headline(document)}", "", *_how_it_ended(document, reason)]
    if note := repeats(document):
        lines += [note, ""]
    lines += [*_doubts(document), *_gates(gates)]
    latencies = (
        (label, *(format_three_digits(document[key][name]) for name in _PERCENTILES))
        for label, key, always in _LATENCIES
        if always or document[key]["count"]
    )
    lines += [*_table(("ms", *map(_heading, _PERCENTILES)), latencies, numbers=4), ""]
    lines += [*_table(("", "", ""), _figures(document)), ""]
    lines += [_where(document), ""]
    return "\n".join(lines)


def render_ab(document: Mapping[str, Any], *, strict: bool = False) -> str:
    """The same of two servers: the decision, the gates, then both in one table.

    Args:
        document: results of schema `vfctl.ab`.
        strict: see `fault`.
    """
    a, b, comparison, gates = document["a"], document["b"], document["comparison"], document["gates"]
    slower = comparison is not None and comparison["verdict"] == "slower"
    reason = fault_of_two(document, strict=strict)
    failed = reason or slower or not all(gate["passed"] for gate in gates)
    mark = "❌" if failed else "📈" if comparison is None else "✅"
    lines = [
        f"## {mark} vfctl loadtest --ab: {headline(a)}",
        "",
        *_how_it_ended({**a, "failure": document["failure"]}, reason),
    ]
    lines += [f"**{_escaped(decision(document))}**", ""]
    for warning in document["warnings"]:
        lines += [f"> {_escaped(warning)}", ""]
    lines += [*_doubts(a, "A: "), *_doubts(b, "B: "), *_gates(gates)]
    rows = [
        (f"{label} {_heading(name)} ms", *(format_three_digits(side[key][name]) for side in (a, b)))
        for label, key, always in _LATENCIES
        if always or a[key]["count"] or b[key]["count"]
        for name in _PERCENTILES
    ]
    for (name, *of_a), (_, *of_b) in zip(_figures(a), _figures(b), strict=False):
        if name != "error":
            rows.append((name, ", ".join(of_a), ", ".join(of_b)))
    lines += [*_table(("", "A", "B"), rows, numbers=2), ""]
    lines += [f"A: {_where(a)}", "", f"B: {_where(b)}", ""]
    return "\n".join(lines)


def _heading(name: str) -> str:
    return name.upper() if name[0] == "p" else name


def _where(document: Mapping[str, Any]) -> str:
    return f"{_code(document['url'])} ({_escaped(document['peer'])}), {document['began_at']}"


def _how_it_ended(document: Mapping[str, Any], reason: str) -> list[str]:
    failed = [f"> **Failed.** {_escaped(reason)}", ""] if reason else []
    cut = partial(document)
    return [*failed, f"> **Partial.** {_escaped(cut)}", ""] if cut else failed


def _doubts(document: Mapping[str, Any], name: str = "") -> list[str]:
    generator = document["generator"]
    return [f"> **{name}{generator['verdict']}:** {_escaped(generator['advice'])}", ""] if generator["advice"] else []


def _gates(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    if not gates:
        return []
    rows = (
        (
            _code(gate["expression"]),
            gate_value(gate),
            gate_limit(gate),
            "✅" if gate["passed"] else "❌ **failed**",
        )
        for gate in gates
    )
    return [*_table(("gate", "value", "limit", ""), rows, numbers=2), ""]


def _figures(document: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    clients, rate, frames = document["clients"], document["throughput"], document["frames"]
    fates = f"of {clients['target']:,}; {clients['failed']:,} failed, {clients['lost']:,} lost"
    yield "clients", f"{clients['connected']:,}", fates
    yield "messages", f"{rate['messages_per_s']:,.0f}/s", f"{rate['messages_per_s_per_client']:.2f}/s a client"
    yield (
        "bandwidth",
        format_byte_rate(rate["bytes_per_s"]),
        f"{format_byte_rate(rate['bytes_per_s_per_client'])} a client",
    )
    yield "frames", f"{frames['received']:,}", f"{frames['gaps']:,} missing, {frames['wrong']:,} wrong"
    generator = document["generator"]
    yield "generator", f"{generator['cpu_percent']:.0f} % CPU", _escaped(generator["verdict"])
    for reason, count in list(document["errors"].items())[:_ERRORS_SHOWN]:
        yield "error", f"{count:,}", _escaped(reason)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 1) -> list[str]:
    """The first column to the left, so many after it to the right, as numbers are."""
    rule = ["---", *["---:"] * numbers, *["---"] * (len(head) - 1 - numbers)]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def _code(text: str) -> str:
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"


def _escaped(text: str) -> str:
    """What others have written, as text: no markup, no new row."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")
