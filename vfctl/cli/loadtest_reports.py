"""Where `vfctl loadtest` writes its reports: checked before the run, written after it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from vfctl.errors import InputError, UsageError
from vfctl.files import check_writable, replace_file
from vfctl.loadtest.reports import as_data, as_html, as_markdown
from vfctl.loadtest.results.model import AbResults, LoadtestResults
from vfctl.terminal.output import log_line, print_error, until_stdout_closes


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """The report files of the command line, by option; `-` is stdout.

    Attributes:
        json, junit, markdown, html, csv: None if there is to be no such report.
    """

    json: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    csv: Path | None = None

    def named(self) -> dict[str, Path]:
        """Those that are not None."""
        paths = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in paths.items() if path is not None}

    def check(self) -> None:
        """Find out before the run whether the reports can be written after it.

        Raises:
            UsageError: two reports are to go to the same place.
            InputError: a file cannot be written.
        """
        seen: dict[str, str] = {}
        for name, path in self.named().items():
            place = "-" if str(path) == "-" else os.path.realpath(path)
            if place in seen:
                where = "stdout" if place == "-" else path
                raise UsageError(f"--{seen[place]} and --{name} both write to {where}, it takes one report")
            seen[place] = name
            if place != "-":
                check_writable(path, overwrite=True)


def write_reports(paths: ReportPaths, results: LoadtestResults | AbResults, *, strict: bool = False) -> None:
    """Write all reports of the command line, and the job summary if there is one ($GITHUB_STEP_SUMMARY).

    Args:
        strict: --strict was given, so the reports fail where the exit code does.

    Raises:
        InputError: a report could not be written; the others have been.
    """
    renderers: dict[str, Callable[[], str]] = {
        "json": lambda: as_data.render_json(results),
        "junit": lambda: as_data.render_junit(results, strict=strict),
        "markdown": lambda: as_markdown.render(results, strict=strict),
        "html": lambda: as_html.render(results, strict=strict),
        "csv": lambda: as_data.render_csv(results),
    }
    failures = []
    for name, path in paths.named().items():
        try:
            write_report(path, renderers[name](), what="results" if name == "json" else f"{name} report")
        except InputError as error:
            failures.append(error)
    append_summary(renderers["markdown"])
    for failure in failures[1:]:
        print_error(failure)
    if failures:
        raise failures[0]


def write_report(path: Path, text: str, *, what: str = "results") -> None:
    """To a file, whole or not at all, or to stdout.

    Raises:
        InputError: it cannot be written.
    """
    if str(path) == "-":
        with until_stdout_closes():
            sys.stdout.write(text)
        return
    replace_file(path, text.encode())
    verb = "are" if what.endswith("s") else "is"
    log_line(f"{what} {verb} in {path}")


def append_summary(markdown: Callable[[], str]) -> None:
    """Append to the job summary of GitHub Actions. A failure is only printed, because no option requested it."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(markdown() + "\n")
    except OSError as error:
        log_line(f"the job summary $GITHUB_STEP_SUMMARY ({path}) cannot be written: {error.strerror}")
