"""`vfctl scenario`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vfctl.cli.output import data

group = typer.Typer(no_args_is_help=True, help="List, show and check load test scenarios.")

NameArgument = Annotated[str, typer.Argument(help="A shipped scenario's name, or a TOML file.", metavar="NAME|FILE")]


@group.command("list")
def list_scenarios() -> None:
    """List the scenarios that are shipped."""
    from rich.table import Table

    from vfctl.loadtest.scenario import load_scenario, scenario_names

    table = Table("scenario", "clients", "seconds", "gates", "description")
    for name in scenario_names():
        scenario = load_scenario(name)
        figures = (f"{scenario.clients:,}", f"{scenario.duration_s:g}", f"{len(scenario.gates)}")
        table.add_row(name, *figures, scenario.description)
    data().print(table)


@group.command("show")
def show(name: NameArgument) -> None:
    """Print a scenario's TOML, to start one of your own from."""
    from vfctl.loadtest.scenario import scenario_text

    sys.stdout.write(scenario_text(name))


@group.command("check")
def check(name: NameArgument) -> None:
    """Check a scenario without running it. Exit code 2 if something in it is wrong, with file and line."""
    from vfctl.loadtest.scenario import load_scenario

    scenario = load_scenario(name)
    data().print(f"{name}: {scenario.clients:,} clients for {scenario.duration_s:g} s, {len(scenario.gates)} gates")
