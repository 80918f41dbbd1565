"""The page's own protocol.js, as the server serves it, reads every golden vector in the browser."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Tab

TESTS = Path(__file__).parents[1]


def test_it_reads_every_golden_vector(modules: Tab) -> None:
    paths = sorted([*TESTS.glob("vectors/*.json"), *TESTS.glob("vectors/streams/*.json")])
    given = [
        {
            "name": path.stem,
            "base64": base64.b64encode(path.with_suffix(".bin").read_bytes()).decode(),
            "twin": json.loads(path.read_text(encoding="utf-8")),
        }
        for path in paths
    ]
    assert len(given) > 90
    check = (TESTS / "protocol" / "golden_check.mjs").read_text(encoding="utf-8").replace("export function", "function")
    run = f"async given => {{ {check}; return check(await import('/viewer/protocol.js'), given); }}"
    assert modules.ask(run, given) == []
    given[0]["twin"]["type"] = "Something"
    assert len(modules.ask(run, given)) == 1, "the check itself notices what differs"
