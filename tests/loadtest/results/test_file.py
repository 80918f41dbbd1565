"""Results that were written earlier: by older versions, or damaged since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vfctl.errors import InputError
from vfctl.loadtest.results.comparable import check_same_test
from vfctl.loadtest.results.file import read_results
from vfctl.loadtest.results.gate_verdicts import judge
from vfctl.loadtest.results.model import OlderResults
from vfctl.loadtest.scenario.gates import parse_gate

FIRST: dict[str, Any] = {
    "schema": "vfctl.loadtest/1",
    "url": "ws://127.0.0.1:8765/ws?timed=1",
    "interrupted": False,
    "clients": {"target": 50, "connected": 50, "failed": 0, "lost": 0, "reconnects": 0},
    "duration_s": 2.0,
    "latency_ms": {"count": 2000, "p95": 1.5},
    "latency_clock": "kernel",
    "throughput": {"messages_per_s": 1000.0},
    "frames": {"received": 2000, "gaps": 0},
}
"""As the first version wrote them: without roles, stages and all that came later."""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


def test_results_of_the_first_version_are_judged_and_a_baseline(written: Path) -> None:
    written.write_text(json.dumps(FIRST))
    results = read_results(written)
    assert [verdict.reason for verdict in judge([parse_gate("frames.gaps == 0")], results)] == [""]
    now = OlderResults.model_validate({**FIRST, "schema": "vfctl.loadtest/2", "roles": {"viewer": {}}})
    check_same_test(results, now)
    with pytest.raises(InputError, match="the number of clients of A is 50, of B is 51"):
        check_same_test(results, now.model_copy(update={"clients": {"target": 51}}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_no_json_has_is_refused(written: Path, number: str) -> None:
    written.write_text(json.dumps(FIRST).replace("1.5", number))
    with pytest.raises(InputError, match=f"is not JSON: {number} is no number"):
        read_results(written)


@pytest.mark.parametrize("part", ["clients", "roles", "latency_ms"])
def test_an_older_document_whose_parts_are_something_else_is_damaged(written: Path, part: str) -> None:
    written.write_text(json.dumps({**FIRST, part: 5}))
    with pytest.raises(InputError, match=f"is damaged: {part}: input should be a valid dictionary"):
        read_results(written)
