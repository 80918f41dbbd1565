"""Where `vfctl loadtest` writes its reports: checked before the run, written after it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vfctl.errors import InputError, UsageError
from vfctl.files import check_writable, replace_file
from vfctl.loadtest.reports import as_csv, as_html, as_junit, as_markdown
from vfctl.loadtest.results.build import Results
from vfctl.terminal.output import log_line, print_error, until_stdout_closes


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """The files that were asked for, by option; `-` is stdout.

    Attributes:
        json, junit, markdown, html, csv: None if there is to be no such report.
    """

    json: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    csv: Path | None = None

    def named(self) -> dict[str, Path]:
        """Those that are wanted."""
        paths = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in paths.items() if path is not None}

    def check(self) -> None:
        """Find out before the run what could not be written after it.

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


def write_reports(
    paths: ReportPaths, document: dict[str, Any], results: Sequence[Results], *, strict: bool = False
) -> None:
    """Write all that are wanted, and the job summary if there is one ($GITHUB_STEP_SUMMARY).

    Args:
        document: of schema `vfctl.loadtest`, or `vfctl.ab`.
        results: of the run (the middle one), or of A and B.
        strict: --strict was given, so the reports fail where the exit code does.

    Raises:
        InputError: a report could not be written; the others have been.
    """

    def html() -> str:
        curves = [as_html.curves_of(each) for each in results]
        if both:
            return as_html.render_ab(document, curves, strict=strict)
        return as_html.render(document, curves[0], strict=strict)

    def markdown() -> str:
        return (as_markdown.render_ab if both else as_markdown.render)(document, strict=strict)

    both = len(results) > 1
    renderers: dict[str, Callable[[], str]] = {
        "json": lambda: json_text(document),
        "junit": lambda: (as_junit.render_ab if both else as_junit.render)(document, strict=strict),
        "markdown": markdown,
        "html": html,
        "csv": lambda: (as_csv.render_ab if both else as_csv.render)(document),
    }
    failures = []
    for name, path in paths.named().items():
        try:
            write_report(path, renderers[name](), what="results" if name == "json" else f"{name} report")
        except InputError as error:
            failures.append(error)
    append_summary(markdown)
    for failure in failures[1:]:
        print_error(failure)
    if failures:
        raise failures[0]


def json_text(document: dict[str, Any]) -> str:
    """The document as it is written to files."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


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
    """Add to the job summary of GitHub Actions; one that cannot be written is only told, nobody has asked for it."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(markdown() + "\n")
    except OSError as error:
        log_line(f"the job summary $GITHUB_STEP_SUMMARY ({path}) cannot be written: {error.strerror}")
