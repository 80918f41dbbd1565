"""`vfctl loadtest --find`: the highest load that holds."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from vfctl.cli.loadtest_reports import json_text, write_report
from vfctl.terminal.output import people, say

if TYPE_CHECKING:
    from vfctl.cli.loadtest_session import Session
    from vfctl.errors import VfctlError
    from vfctl.loadtest.scenario.gates import Gate
    from vfctl.loadtest.scenario.model import Scenario


class Search(StrEnum):
    """What --find can look for."""

    CLIENTS = "clients"
    RATE = "rate"


def search_load(
    running: Session,
    what: Search,
    plan: Scenario,
    until: tuple[Gate, ...],
    url: str | None,
    source_ip: str | None,
    json_file: Path | None,
    duration: float | None,
    clients: int | None,
) -> NoReturn:
    from vfctl.cli.loadtest_tables import search_table
    from vfctl.errors import EXIT_INTERRUPTED, EXIT_OK, GateError, UsageError
    from vfctl.loadtest.control import find as search

    if what is Search.RATE and url is not None:
        raise UsageError(
            "--find rate sets the interval of the embedded server, and there is a URL",
            hint="--find clients works with any server",
        )
    failures: list[VfctlError] = []

    def run(scenario: Scenario) -> dict[str, Any]:
        results = running.run(scenario, url, source_ip, embedded=what is Search.RATE)
        if results.performance.failure is not None:
            failures.append(results.performance.failure)
        return results.to_json(scenario.gates)

    def tell(probe: search.Probe) -> None:
        why = ", ".join(search.reasons(probe.document, what.value, probe.load))
        say(f"{probe.load:,g} {unit}: {'holds' if probe.held else f'does not hold ({why})'}")

    unit = "clients" if what is Search.CLIENTS else "frames/s to each client"
    if duration is None:
        plan = plan.changed(duration_s=search.DURATION_S)
    limit = search.MAX_RATE_HZ if what is Search.RATE else clients or search.MAX_CLIENTS
    found = search.find(what.value, plan, until, run, limit=limit, on_probe=tell, failed=lambda: bool(failures))
    people().print(search_table(found.to_json(), unit))
    if json_file is not None:
        write_report(json_file, json_text(found.to_json()))
    if failures:
        raise failures[0]
    interrupted = found.probes[-1].document["interrupted"]
    raise typer.Exit(EXIT_INTERRUPTED if interrupted else EXIT_OK if found.load else GateError.exit_code)
