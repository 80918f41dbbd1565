"""Markdown for a job's summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vfctl.loadtest.reports.figures import bytes_per_s, gate_number, headline, partial, repeats, three_digits

_LATENCIES: Final = (
    ("latency", "latency_ms", True),
    ("against the schedule", "latency_corrected_ms", True),
    ("voice, mouth to ear", "voice_ms", False),
    ("connect", "connect_ms", True),
    ("back after a loss", "reconnect_ms", False),
)
_PERCENTILES: Final = ("p50", "p95", "p99", "max")
_ERRORS_SHOWN: Final = 8


def render(document: Mapping[str, Any]) -> str:
    """GitHub's dialect: the verdict, what makes it doubtful, the gates, then the figures.

    Args:
        document: results of schema `vfctl.loadtest`.
    """
    gates, generator = document["gates"], document["generator"]
    failed = [gate for gate in gates if not gate["passed"]]
    mark = "❌" if failed else "✅" if gates else "📈"
    lines = [f"## {mark} vfctl loadtest: {headline(document)}", ""]
    if reason := partial(document):
        lines += [f"> **Partial.** {_escaped(reason)}", ""]
    if note := repeats(document):
        lines += [note, ""]
    if generator["advice"]:
        lines += [f"> **{generator['verdict']}:** {_escaped(generator['advice'])}", ""]
    if gates:
        rows = (
            (
                _code(gate["expression"]),
                gate_number(gate["value"]),
                gate_number(gate["limit"]),
                "✅" if gate["passed"] else "❌ **failed**",
            )
            for gate in gates
        )
        lines += [*_table(("gate", "value", "limit", ""), rows), ""]
    latencies = (
        (label, *(three_digits(document[key][name]) for name in _PERCENTILES))
        for label, key, always in _LATENCIES
        if always or document[key]["count"]
    )
    lines += [*_table(("ms", *(name.upper() if name[0] == "p" else name for name in _PERCENTILES)), latencies), ""]
    lines += [*_table(("", "", ""), _figures(document)), ""]
    lines += [f"{_code(document['url'])} ({_escaped(document['peer'])}), {document['began_at']}", ""]
    return "\n".join(lines)


def _figures(document: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    clients, rate, frames = document["clients"], document["throughput"], document["frames"]
    fates = f"of {clients['target']:,}; {clients['failed']:,} failed, {clients['lost']:,} lost"
    yield "clients", f"{clients['connected']:,}", fates
    yield "messages", f"{rate['messages_per_s']:,.0f}/s", f"{rate['messages_per_s_per_client']:.2f}/s a client"
    yield "bandwidth", bytes_per_s(rate["bytes_per_s"]), f"{bytes_per_s(rate['bytes_per_s_per_client'])} a client"
    yield "frames", f"{frames['received']:,}", f"{frames['gaps']:,} missing, {frames['wrong']:,} wrong"
    generator = document["generator"]
    yield "generator", f"{generator['cpu_percent']:.0f} % CPU", _escaped(generator["verdict"])
    for reason, count in list(document["errors"].items())[:_ERRORS_SHOWN]:
        yield "error", f"{count:,}", _escaped(reason)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The first column to the left, numbers after it to the right."""
    rule = ["---", "---:", *(["---"] if len(head) == 3 else ["---:"] * (len(head) - 2))]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def _code(text: str) -> str:
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"


def _escaped(text: str) -> str:
    """What others have written, as text: no markup, no new row."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")
