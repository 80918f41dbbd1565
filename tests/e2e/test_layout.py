"""`vfctl layout` as a process: Ctrl-C writes what there is."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Vfctl

ENDLESS = ("--set", "cooling=0", "--set", "damping=0", "--max-steps", "100000000")


def test_ctrl_c_writes_what_there_is_and_marks_it(tmp_path: Path) -> None:
    out = tmp_path / "positions.json"
    command = Vfctl("layout", "--nodes", "60", *ENDLESS, "--out", out)
    command.wait_for(r"settling, \d+ % of the way")
    command.interrupt()
    code, output = command.finish()
    assert (code, output) == (130, b""), command.errors
    assert "interrupted, not at rest" in command.errors
    assert "Traceback" not in command.errors
    document = json.loads(out.read_text())
    assert len(document["nodes"]) == 60
    assert document["graph"]["at_rest"] is False
    assert document["graph"]["steps"] > 0


def test_ctrl_c_before_the_first_step_ends_it_without_a_file(tmp_path: Path) -> None:
    command = Vfctl("layout", "--nodes", "60", *ENDLESS, "--out", tmp_path / "positions.json")
    command.wait_for("60 nodes")
    command.interrupt()
    code, _ = command.finish()
    assert code == 130, command.errors
    assert "Traceback" not in command.errors
