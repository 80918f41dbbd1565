"""Markdown for a job's summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from vfctl.loadtest.reports.wording import (
    command,
    decision,
    fault,
    gate_limit,
    gate_value,
    headline,
    latencies,
    partial,
    repeats,
    sides_of,
)
from vfctl.loadtest.results.model import AbResults, GateVerdict, LoadtestResults
from vfctl.quantities import format_byte_rate, format_three_digits

_PERCENTILES: Final = ("p50", "p95", "p99", "max")
_ERRORS_SHOWN: Final = 8


def render(results: LoadtestResults | AbResults, *, strict: bool = False) -> str:
    """GitHub's dialect: the verdict, the reasons to doubt it, the gates, then the metrics. Two servers share a table.

    Args:
        strict: see `fault`.
    """
    reason, sides = fault(results, strict=strict), sides_of(results)
    failed = reason or not all(gate.passed for gate in results.gates)
    if isinstance(results, AbResults):
        comparison = results.comparison
        failed = failed or (comparison is not None and comparison.verdict == "slower")
        passed = comparison is not None
        notes = [f"**{_escaped(decision(results))}**", *(f"> {_escaped(warning)}" for warning in results.warnings)]
    else:
        passed = bool(results.gates)
        notes = [repeats(results)] if repeats(results) else []
    mark = "❌" if failed else "✅" if passed else "📈"
    paragraphs = [f"## {mark} {command(results)}: {headline(results)}"]
    if reason:
        paragraphs.append(f"> **Failed.** {_escaped(reason)}")
    if cut := partial(results):
        paragraphs.append(f"> **Partial.** {_escaped(cut)}")
    paragraphs += notes
    for name, side in sides.items():
        if side.generator.advice:
            prefix = f"{name}: " if name else ""
            paragraphs.append(f"> **{prefix}{side.generator.verdict}:** {_escaped(side.generator.advice)}")
    if results.gates:
        paragraphs.append(_gates(results.gates))
    paragraphs += _metrics_of_two(results.a, results.b) if isinstance(results, AbResults) else _metrics_of_one(results)
    paragraphs += [f"{f'{name}: ' if name else ''}{_where(side)}" for name, side in sides.items()]
    return "\n\n".join(paragraphs) + "\n"


def _metrics_of_one(results: LoadtestResults) -> list[str]:
    rows = [
        (label, *(format_three_digits(getattr(latency, name)) for name in _PERCENTILES))
        for label, (latency,) in latencies(results).items()
    ]
    heading = ("ms", *map(_heading, _PERCENTILES))
    return [_table(heading, rows, numbers=4), _table(("", "", ""), _rows(results))]


def _metrics_of_two(a: LoadtestResults, b: LoadtestResults) -> list[str]:
    rows = [
        (f"{label} {_heading(name)} ms", *(format_three_digits(getattr(latency, name)) for latency in both))
        for label, both in latencies(a, b).items()
        for name in _PERCENTILES
    ]
    for (name, *of_a), (_, *of_b) in zip(_rows(a), _rows(b), strict=False):
        if name != "error":
            rows.append((name, ", ".join(of_a), ", ".join(of_b)))
    return [_table(("", "A", "B"), rows, numbers=2)]


def _heading(name: str) -> str:
    return name.upper() if name[0] == "p" else name


def _where(results: LoadtestResults) -> str:
    return f"{_code(results.url)} ({_escaped(results.peer)}), {results.began_at}"


def _gates(gates: Sequence[GateVerdict]) -> str:
    rows = (
        (_code(gate.expression), gate_value(gate), gate_limit(gate), "✅" if gate.passed else "❌ **failed**")
        for gate in gates
    )
    return _table(("gate", "value", "limit", ""), rows, numbers=2)


def _rows(results: LoadtestResults) -> Iterable[Sequence[str]]:
    clients, rate, frames = results.clients, results.throughput, results.frames
    yield (
        "clients",
        f"{clients.connected:,}",
        f"of {clients.target:,}; {clients.failed:,} failed, {clients.lost:,} lost",
    )
    yield "messages", f"{rate.messages_per_s:,.0f}/s", f"{rate.messages_per_s_per_client:.2f}/s per client"
    yield "bandwidth", format_byte_rate(rate.bytes_per_s), f"{format_byte_rate(rate.bytes_per_s_per_client)} per client"
    yield "frames", f"{frames.received:,}", f"{frames.gaps:,} missing, {frames.wrong:,} wrong"
    yield "generator", f"{results.generator.cpu_percent:.0f} % CPU", _escaped(results.generator.verdict)
    for reason, count in list(results.errors.items())[:_ERRORS_SHOWN]:
        yield "error", f"{count:,}", _escaped(reason)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 1) -> str:
    """The first column is aligned left, the next `numbers` columns right."""
    rule = ["---", *["---:"] * numbers, *["---"] * (len(head) - 1 - numbers)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _code(text: str) -> str:
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"


def _escaped(text: str) -> str:
    """What others have written, as text: no markup, no new row."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")
