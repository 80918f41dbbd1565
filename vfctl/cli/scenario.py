"""`vfctl scenario`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from vfctl.cli.help import Command, Group
from vfctl.loadtest.results.gate_verdicts import check_path
from vfctl.loadtest.scenario.file import load_scenario, scenario_names, scenario_text
from vfctl.terminal.output import stdout_console, until_stdout_closes

group = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List, show and check load test scenarios.",
)

NameArgument = Annotated[
    str,
    typer.Argument(
        help="Name of a shipped scenario, or a TOML file.", metavar="NAME|FILE", autocompletion=scenario_names
    ),
]


@group.command(cls=Command, name="list")
def list_scenarios() -> None:
    """List the shipped scenarios.

    Examples:
        vfctl scenario list
    """
    table = Table("scenario", "clients", "seconds", "gates", "description")
    for name in scenario_names():
        scenario = load_scenario(name, check_path)
        seconds = sum(step.lasts_s for step in scenario.steps())
        figures = (f"{scenario.peak:,}", f"{seconds:,.0f}", f"{len(scenario.gates)}")
        table.add_row(name, *figures, scenario.description)
    with until_stdout_closes():
        stdout_console().print(table)


@group.command(cls=Command, name="show")
def show(name: NameArgument) -> None:
    """Print a scenario as TOML, to start your own from.

    Examples:
        vfctl scenario show smoke > mine.toml
    """
    text = scenario_text(name)
    with until_stdout_closes():
        sys.stdout.write(text)


@group.command(cls=Command, name="check")
def check(name: NameArgument) -> None:
    """Check a scenario without running it, and print its stages.

    Exit code 2 if something in it is wrong. The message names file and line.

    Examples:
        vfctl scenario check mine.toml
    """
    scenario = load_scenario(name, check_path)
    course = Table("stage", "clients", "from s", "to s", "")
    at_s = 0.0
    for step in scenario.steps():
        measured = "measured" if step.measured else ""
        course.add_row(escape(step.name), f"{step.clients:,}", f"{at_s:g}", f"{at_s + step.lasts_s:g}", measured)
        at_s += step.lasts_s
    total = sum(role.share for role in scenario.roles)
    mix = ", ".join(f"{role.share / total:.3g} {role.label}" for role in scenario.roles)
    console = stdout_console()
    with until_stdout_closes():
        console.print(course)
        console.print(f"{escape(name)}: {escape(mix)}; {len(scenario.gates)} gates")
