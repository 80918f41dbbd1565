"""What people see of a load test, on a terminal and without one."""

from __future__ import annotations

import io
from collections import Counter

from rich.console import Console

from tests.loadtest.results.golden_inputs import a_run
from vfctl.cli.loadtest_display import LoadtestDisplay, panel, plain_line, stage_line
from vfctl.cli.loadtest_tables import search_table
from vfctl.loadtest.control.live import Status
from vfctl.loadtest.generator.observations import Outcome
from vfctl.loadtest.results.model import FindResults, Probe
from vfctl.loadtest.scenario.stages import Step
from vfctl.metrics.histogram import Summary

STEP = Step("the peak", "hold", True, 100, 0.0, 30.0)
BUSY = Summary(500, 0.5, 2.0, 5.0, 7.5, 9.25, 10.0, 11.0, 3.0)
STATUS = Status(
    1,
    3,
    STEP,
    15.0,
    30.0,
    Outcome(100, 97, failed=1, lost=2),
    1234.0,
    5e6,
    BUSY,
    BUSY,
    (1.0, None, 8.0),
    Counter({"connection [reset]": 3}),
)


def printed(*what: object, **options: object) -> str:
    console = Console(file=io.StringIO(), width=100, **options)  # type: ignore[arg-type]
    for each in what:
        console.print(each)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_panel_has_stage_clients_rates_percentiles_history_and_errors() -> None:
    text = printed(panel(STATUS))
    for expected in (
        "the peak (measured)",
        "stage 2 of 3",
        "15 of 30 s",
        "97 of 100 connected, 1 failed, 2 lost",
        "1,234 messages/s, 5 MB/s",
        "P50    2.00   P95    7.50   P99    9.25 ms",
        "▂ █  up to 8.0 ms",
        "3 × connection [reset]",
    ):
        assert expected in text


def test_a_run_without_stamped_frames_says_so() -> None:
    text = printed(panel(Status(0, 1, STEP, 1.0, 30.0, Outcome(5, 5))))
    assert "no stamped frames yet" in text


def test_plain_lines() -> None:
    assert stage_line(STATUS) == "stage 2 of 3: the peak, 100 clients, 30 s, measured"
    line = plain_line(STATUS)
    assert line.startswith("the peak 15/30 s, 97 of 100 connected, 1 failed, 2 lost, 1,234 messages/s, 5 MB/s")
    assert "P50/P95/P99 2.00 / 7.50 / 9.25 ms" in line
    assert "3 × connection [reset]" in line


def test_without_a_terminal_there_is_a_line_a_stage_and_none_in_between() -> None:
    console = Console(file=io.StringIO(), width=200)
    with LoadtestDisplay(console) as display:
        for _ in range(20):
            display.show(STATUS)
    assert console.file.getvalue().splitlines() == [stage_line(STATUS)]  # type: ignore[attr-defined]


def test_on_a_terminal_it_redraws_at_most_ten_times_a_second() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with LoadtestDisplay(console) as display:
        for _ in range(200):  # takes a few ms
            display.show(STATUS)
    assert 1 <= console.file.getvalue().count("stage 2 of 3") <= 3  # type: ignore[attr-defined]


def test_a_search_is_told_as_a_table() -> None:
    results = a_run(count=10).results
    probes = [Probe(load=load, held=load < 500, results=results) for load in (500, 250)]
    found = FindResults(schema="vfctl.find/1", find="clients", load=250, at_limit=False, probes=probes)
    text = printed(search_table(found, "clients"))
    assert "highest load: 250 clients" in text
    assert text.index("250 │") < text.index("500 │")
    assert "even at the lowest load" in printed(search_table(found.model_copy(update={"load": None}), "clients"))
