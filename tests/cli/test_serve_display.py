"""What people see of a server, on a terminal and without one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vfctl.cli import serve_display
from vfctl.cli.serve_display import MAX_ROWS, Meter, Row, ServeDisplay, plain_line, table
from vfctl.server.scoreboard import Scoreboard, Slot

SETTLED = Row(1200, 1200.0, 10.6e6, 0.0, 0, 1000.0, 1000.0, 3.21, True)
STRAINED = Row(800, 8000.0, 70e6, 12.0, 3, 100.0, 50.0, 14.5, False)


def printed(what: object) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def lines(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def slot(posted_s: float, *, began_us: int = 1, clients: int = 5, frames: int = 0, settled: int = 0) -> Slot:
    return Slot(
        began_us=began_us,
        published_us=int(posted_s * 1e6),
        clients=clients,
        frames=frames,
        bytes=100 * frames,
        skipped=frames // 10,
        interval_us=50_000,
        target_interval_us=50_000,
        settled=settled,
    )


def test_the_table_has_a_row_for_each_gateway_and_one_for_all() -> None:
    text = printed(table({0: SETTLED, 1: STRAINED}, 3, 3725.9))
    assert "up for 1:02:05" in text
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["0", "1,200", "1,200", "10.6", "MB/s", "1,000", "3.2", "0", "0", "settled"],
        ["1", "800", "8,000", "70", "MB/s", "100", "(50)", "14.5", "12", "3", "active"],
        ["2", "starting"],
        ["all", "2,000", "9,200", "80.6", "MB/s", "1,000", "14.5", "12", "3", "active"],
    ]


def test_one_gateway_needs_no_total_and_a_great_many_have_nothing_else() -> None:
    assert printed(table({0: SETTLED}, 1, 0.0)).count("settled") == 1
    many = dict.fromkeys(range(MAX_ROWS + 1), SETTLED)
    text = printed(table(many, len(many), 0.0))
    assert text.count("settled") == 1
    assert "20,400" in text


def test_rates_are_of_the_time_between_posts() -> None:
    meter = Meter()
    assert meter.row(slot(10.0, frames=1000)).frames_per_s == 0
    assert meter.row(slot(10.5, frames=1100)).frames_per_s == pytest.approx(200)
    row = meter.row(slot(11.0, frames=1300))
    assert (row.frames_per_s, row.bytes_per_s, row.skipped_per_s) == pytest.approx((300, 30_000, 30))
    assert meter.row(slot(11.0, frames=1300)) == row  # nothing new has been posted
    assert meter.row(slot(14.0, frames=1300)).frames_per_s == 0  # the last two seconds were quiet


def test_another_process_in_the_slot_counts_from_zero() -> None:
    meter = Meter()
    meter.row(slot(10.0, frames=1000))
    assert meter.row(slot(11.0, frames=40, began_us=2)).frames_per_s == 0
    assert meter.row(slot(12.0, frames=90, began_us=2)).frames_per_s == pytest.approx(50)


@pytest.fixture
def board() -> Scoreboard:
    board = Scoreboard(2)
    for entry in board:
        entry.began_us = entry.published_us = 1
        entry.settled = 1
    return board


class FakeTime:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr(serve_display, "time", clock)
    return clock


def test_without_a_terminal_there_is_a_line_every_ten_seconds_if_something_changed(
    board: Scoreboard, clock: FakeTime
) -> None:
    console = Console(file=io.StringIO(), width=200)
    with ServeDisplay(console) as display:
        for second in range(100):
            clock.now_s += 1
            board[0].frames += 10  # more of the same is no news
            board[0].published_us += 1_000_000
            if second == 15:
                board[1].clients = 7
            if second == 45:
                board[1].settled = 0
            display.show(board)
    assert lines(console) == [
        "7 clients, 10 frames/s, 0 B/s, every 0 ms, settled",
        "7 clients, 10 frames/s, 0 B/s, every 0 ms, active",
    ]


def test_on_a_terminal_it_is_redrawn_at_most_twice_a_second(board: Scoreboard, clock: FakeTime) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with ServeDisplay(console) as display:
        for _ in range(100):
            clock.now_s += 0.04
            display.show(board)
    assert 7 <= sum("up for" in line for line in lines(console)) <= 9


def test_a_gateway_that_dies_is_shown_as_starting(board: Scoreboard, clock: FakeTime) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with ServeDisplay(console) as display:
        display.show(board)
        assert "starting" not in console.file.getvalue()  # type: ignore[attr-defined]
        board.clear(1)
        clock.now_s += 1
        display.show(board)
    assert "starting" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_plain_line_says_how_it_goes() -> None:
    assert plain_line(STRAINED) == "800 clients, 8,000 frames/s, 70 MB/s, every 100 ms, active"
