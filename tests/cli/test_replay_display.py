"""What a replay shows, and what its keys mean."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from vfctl.cli.replay import _expanded
from vfctl.cli.replay_display import ReplayDisplay, changes_for, clock, status_line

STATUS: dict[str, Any] = {
    "position_s": 12.0,
    "duration_s": 15.0,
    "speed": 1.0,
    "paused": False,
    "loop": False,
    "ended": False,
}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00.0"), (9.96, "0:10.0"), (59.97, "1:00.0"), (61.25, "1:01.2"), (3723.4, "1:02:03.4")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_status_line() -> None:
    assert status_line(STATUS) == "playing 0:12.0 of 0:15.0"
    assert status_line(STATUS | {"paused": True, "speed": 4.0, "loop": True}) == (
        "paused 0:12.0 of 0:15.0, 4 times as fast, looping"
    )
    assert status_line(STATUS | {"ended": True, "duration_s": None}) == "ended 0:12.0"


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (b" ", {"paused": True}),
        (b"0", {"position_s": 0.0}),
        (b"\x1b[C", {"position_s": 15.0}),  # not beyond the end
        (b"\x1b[D", {"position_s": 7.0}),
        (b"\x1bOD", {"position_s": 7.0}),  # as terminals in application mode send it
        (b"\x1b[A", {"speed": 2.0}),
        (b"\x1b[B", {"speed": 0.5}),
        (b"x", {}),
        (b"\x1b", {}),
    ],
)
def test_keys(key: bytes, changes: dict[str, Any]) -> None:
    assert changes_for(key, STATUS) == changes


def test_keys_at_the_limits() -> None:
    assert changes_for(b"\x1b[D", STATUS | {"position_s": 3.0}) == {"position_s": 0.0}
    assert changes_for(b"\x1b[C", STATUS | {"duration_s": None}) == {"position_s": 17.0}
    assert changes_for(b"\x1b[A", STATUS | {"speed": 64.0}) == {"speed": 64.0}
    assert changes_for(b" ", STATUS | {"paused": True}) == {"paused": False}


def test_the_line_is_below_the_table() -> None:
    display = ReplayDisplay(Console(file=io.StringIO()))
    table = Table(title="gateways")
    assert display.picture(table) is table  # nothing is known yet
    display.status, display.has_keys = STATUS, True
    console = Console(file=io.StringIO(), width=120)
    console.print(display.picture(table))
    assert "playing 0:12.0 of 0:15.0   space pauses" in console.file.getvalue()  # type: ignore[attr-defined]


def test_patterns_that_no_shell_has_expanded(tmp_path: Path) -> None:
    for name in ("a-0002.mcap", "a-0001.mcap", "b.mcap", "c[1].mcap"):
        (tmp_path / name).touch()
    assert _expanded([f"{tmp_path}/a-*.mcap", f"{tmp_path}/b.mcap"]) == [
        f"{tmp_path}/a-0001.mcap",
        f"{tmp_path}/a-0002.mcap",
        f"{tmp_path}/b.mcap",
    ]
    assert _expanded([f"{tmp_path}/c[1].mcap", "missing-*.mcap"]) == [f"{tmp_path}/c[1].mcap", "missing-*.mcap"]
