"""Which options of `vfctl loadtest` go together."""

from __future__ import annotations

from typing import Any

from vfctl.cli.loadtest_find import Search
from vfctl.cli.loadtest_reports import ReportPaths
from vfctl.errors import UsageError
from vfctl.loadtest.scenario.gates import Gate


def check_combination(
    find: Search | None,
    ab: bool,
    url: str | None,
    of_one_run: dict[str, Any],
    repeat: int,
    until: tuple[Gate, ...],
    reports: ReportPaths,
) -> None:
    """Refuse options that do not go together: none is ignored in silence.

    Args:
        of_one_run: options that a search does not have, by name.

    Raises:
        UsageError: two do not; names what does.
    """

    if find is None and until:
        raise UsageError("--until says what has to hold for --find; for one run it is --gate")
    if ab and (find is not None or url is not None):
        raise UsageError("--ab names its two servers: there is no other URL, and no --find")
    if ab and repeat > 1:
        raise UsageError(
            "--ab is one run, there is no --repeat",
            hint="a longer --duration, whose seconds are compared in pairs; or --repeat for each, then vfctl compare",
        )
    if find is None:
        return
    given = [name for name, value in of_one_run.items() if value]
    if given:
        raise UsageError(f"{given[0]} is not for --find", hint="what has to hold for a search is --until")
    if repeat > 1:
        raise UsageError(
            "--repeat is not for --find", hint="a longer --duration, or --repeat at the load that it finds"
        )
    if not set(reports.named()) <= {"json"}:
        raise UsageError(
            "--junit, --markdown, --html and --csv are of one run; the report of --find is --json",
            hint="run the load that it finds once more: vfctl loadtest --clients N --html FILE",
        )
