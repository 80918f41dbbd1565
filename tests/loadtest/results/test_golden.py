"""Documents of every kind, and the reports rendered from them, against files that were frozen.

`VFCTL_UPDATE_GOLDEN=1 python -m pytest tests/loadtest/results/test_golden.py` writes the files anew.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import vfctl
from tests.loadtest.results.golden_inputs import ABORTED, DIED, MIXED, PLAIN, a_run
from vfctl.cli.app import run
from vfctl.cli.loadtest_runs import print_ab
from vfctl.cli.loadtest_tables import results_tables, search_table
from vfctl.loadtest.control import noise
from vfctl.loadtest.reports import as_data, as_html, as_markdown
from vfctl.loadtest.results.build import MeasuredRun, not_run
from vfctl.loadtest.results.comparable import compare_sides
from vfctl.loadtest.results.gate_verdicts import judged
from vfctl.loadtest.results.model import AbResults, FindResults, LoadtestResults, Probe
from vfctl.loadtest.results.repeats import fold
from vfctl.loadtest.results.schema import DOCUMENTS, schema_of
from vfctl.loadtest.scenario.gates import parse_gate
from vfctl.metrics.histogram import decode_counts
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, PositionUpdate, encode

FOLDER = Path(__file__).with_name("golden")
WIDTH = 150

GATES = tuple(
    parse_gate(expression)
    for expression in (
        "latency_ms.p95 < 30",
        "latency_ms.p99 < 0.1ms",
        "voice_ms.p95 < 200",
        "clients.lost == 0",
        "throughput.bytes_per_s > 5MB/s",
        "latency_ms.p95 <= 1.2 * baseline + 1ms",
        "roles.viewer.frames.gaps == 0",
    )
)

Reports = dict[str, str]

PAGES = ("loadtest", "loadtest-mixed", "loadtest-failed", "loadtest-not-begun", "loadtest-repeated", "ab-slower")
SERIES = ("loadtest", "ab")
"""Whose pages and time series are frozen: the others have nothing in them that these have not."""


@pytest.fixture(autouse=True)
def fixed_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("python_version", "3.11.2"), ("system", "Linux"), ("release", "6.1"), ("machine", "x86_64")):
        monkeypatch.setattr(platform, name, lambda value=value: value)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("COLUMNS", str(WIDTH))


def tables(made: list[Any]) -> str:
    console = Console(width=WIDTH, color_system=None, highlight=False)
    with console.capture() as capture:
        for table in made:
            console.print(table)
    return capture.get()


def reports_of(results: LoadtestResults | AbResults, strict: bool) -> Reports:
    return {
        "json": as_data.render_json(results),
        "html": as_html.render(results, strict=strict),
        "md": as_markdown.render(results, strict=strict),
        "junit.xml": as_data.render_junit(results, strict=strict),
        "csv": as_data.render_csv(results),
    }


def of_one(*runs: MeasuredRun, strict: bool = False, gates: Any = GATES, asked: int | None = None) -> Reports:
    """All reports of one server's runs."""
    results = judged(fold([run.results for run in runs], asked), gates, a_run(seed=5).results)
    return reports_of(results, strict) | {"txt": tables(results_tables(results)) if results.stages else ""}


def of_two(a: MeasuredRun, b: MeasuredRun, capfd: pytest.CaptureFixture[str], strict: bool = False) -> Reports:
    """All reports of two servers' runs."""
    gates = (*GATES[:3], *map(parse_gate, ("a.clients.lost == 0", "comparison.difference_ms < 10")))
    results = compare_sides(a.results, b.results, gates)
    capfd.readouterr()
    print_ab(results)
    return reports_of(results, strict) | {"txt": capfd.readouterr().err}


def of_a_search() -> Reports:
    probes = [
        Probe(load=load, held=held, results=judged(a_run(seed=number, count=4000).results, GATES[:1]))
        for number, (load, held) in enumerate(((250, True), (500, False)))
    ]
    found = FindResults(schema="vfctl.find/1", find="clients", load=250.0, at_limit=False, probes=probes)
    return {"json": as_data.render_json(found), "txt": tables([search_table(found, "clients")])}


ONE: dict[str, Callable[[], Reports]] = {
    "loadtest": lambda: of_one(a_run()),
    "loadtest-no-gates": lambda: of_one(a_run(outcome=(300, 300), errors={}), gates=()),
    "loadtest-mixed": lambda: of_one(a_run(MIXED)),
    "loadtest-strict": lambda: of_one(a_run(saturated=True), strict=True, gates=GATES[:1]),
    "loadtest-aborted": lambda: of_one(a_run(aborted=ABORTED)),
    "loadtest-interrupted": lambda: of_one(a_run(interrupted=True)),
    "loadtest-failed": lambda: of_one(a_run(failure=DIED)),
    "loadtest-nobody-left": lambda: of_one(a_run(outcome=(300, 0, 100, 200), count=0)),
    "loadtest-not-begun": lambda: of_one(not_run("ws://nowhere/ws", PLAIN, DIED)),
    "loadtest-repeated": lambda: of_one(
        a_run(seed=1), a_run(seed=2, later_us=500, outcome=(300, 290, 4, 6), saturated=True), a_run(seed=3, errors={})
    ),
    "loadtest-repeated-interrupted": lambda: of_one(a_run(seed=1), a_run(seed=2, interrupted=True), asked=5),
    "loadtest-repeated-no-samples": lambda: of_one(a_run(seed=1), a_run(seed=2, count=0), a_run(seed=3)),
    "find": of_a_search,
}


@pytest.mark.parametrize("name", ONE)
def test_one_server(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    check_all(name, ONE[name]())


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("ab", ({}, {"seed": 2})),
        ("ab-slower", ({}, {"seed": 2, "later_us": 9000, "saturated": True, "url": "ws://b/ws?encoding=compact"})),
        ("ab-incomparable", ({}, {"count": 0})),
        ("ab-interrupted", ({"interrupted": True}, {"interrupted": True})),
        ("ab-aborted", ({"aborted": ABORTED}, {"aborted": ABORTED})),
        ("ab-failed", ({"failure": DIED}, {"failure": DIED})),
    ],
)
def test_two_servers(
    name: str, sides: tuple[dict[str, Any], dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    check_all(name, of_two(*(a_run(**side) for side in sides), capfd))


def test_noise(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    runs = [a_run(seed=seed, later_us=100 * seed).results for seed in range(5)]
    times = noise.CpuTimes(1000, 10), noise.CpuTimes(2000, 30)
    monkeypatch.setattr("vfctl.cli.machine.measure", lambda *_: (runs, *times))
    for options, kind in ((["--json"], "json"), ([], "txt")):
        assert run(["noise", *options]) == 0
        check(f"noise.{kind}", capfd.readouterr().out)


@pytest.mark.parametrize("b", ["loadtest-strict", "loadtest-mixed", "loadtest-repeated", "ab-slower"])
def test_compare(b: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("loadtest", b):
        shutil.copy(FOLDER / f"{name}.json", tmp_path / f"{name}.json")
    files = [f"{b}.json"] if b.startswith("ab") else ["loadtest.json", f"{b}.json"]
    for options, kind in ((["--json"], "json"), ([], "txt")):
        code = run(["compare", *files, *options])
        printed = capfd.readouterr()
        if kind == "json" and code in (0, 3):
            check(f"compare-{b}.json", printed.out)
        else:
            check(f"compare-{b}.txt", f"{printed.out}{printed.err}exit code {code}\n")


@pytest.mark.parametrize("name", ["loadtest", "loadtest-failed", "loadtest-nobody-left", "version-2", "version-1"])
def test_gate(name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(FOLDER)
    options = [part for gate in GATES for part in ("--gate", gate.expression)]
    code = run(["gate", f"{name}.json", *options, "--baseline", "version-2.json"])
    printed = capfd.readouterr()
    check(f"gate-{name}.txt", f"{printed.out}{printed.err}exit code {code}\n")


def test_bandwidth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    nodes = np.zeros(50, NODE_DTYPE)
    nodes["id"] = range(50)
    messages = [encode(FullGraph(nodes, np.zeros(0, EDGE_DTYPE)))]
    for frame in range(6):
        for axis in "xyz":
            nodes[axis] += np.arange(50, dtype=np.float32) / 8 if frame < 5 else 0
        messages.append(encode(PositionUpdate(nodes, frame == 5)))
    Path("frames.bin").write_bytes(b"".join(messages))
    for options, kind in ((["--json"], "json"), ([], "txt")):
        ticks = itertools.count(0, 1_000_000)
        monkeypatch.setattr(time, "perf_counter_ns", lambda ticks=ticks: next(ticks))
        assert run(["bandwidth", "frames.bin", *options]) == 0
        check(f"bandwidth.{kind}", capfd.readouterr().out)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema(name: str) -> None:
    check(f"{name}.schema.json", json.dumps(schema_of(name), indent=2) + "\n")


def check_all(name: str, reports: Reports) -> None:
    for kind, text in reports.items():
        if name in {"html": PAGES, "csv": SERIES}.get(kind, (name,)):
            check(f"{name}.{kind}", text)


def check(name: str, text: str) -> None:
    """Compare with the frozen file; write it first where that is asked for."""
    text = text.replace(f"vfctl {vfctl.__version__}", "vfctl 0.1.0")
    path = FOLDER / name
    if os.environ.get("VFCTL_UPDATE_GOLDEN"):
        path.write_text(text, "utf-8")
    frozen = path.read_text("utf-8")
    if not name.endswith(".json"):
        assert text == frozen, f"{name} has changed"
        return
    found, expected = json.loads(text), json.loads(frozen)
    assert dict(flat(found)) == dict(flat(expected)), f"{name} has changed"


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of all that a document has; histograms as their counts, since zlib is free to differ."""
    if isinstance(value, dict | list):
        yield path, type(value)
        if path.endswith(".required"):
            value = sorted(value)
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(each, f"{path}.{key}")
    elif isinstance(value, str) and (".histograms." in path or ".blocks." in path) and len(value) > 30:
        yield path, decode_counts(value).tolist()
    elif path.endswith(".environment.vfctl"):
        yield path, "any version"
    else:
        yield path, value
