"""The `vfctl` command: a group that imports a subcommand when it is called, and the exit code of each run."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any, Final

import typer
import typer.main

from vfctl import __version__
from vfctl.cli.completion import described_commands
from vfctl.cli.help import Command, Group
from vfctl.cli.mistakes import explain
from vfctl.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, VfctlError
from vfctl.logs import VARIABLE, LogLevel, set_level
from vfctl.terminal.output import print_error, until_stdout_closes

COMMANDS: Final = {
    "serve": "serve:command",
    "replay": "replay:command",
    "watch": "watch:command",
    "voice": "voice:group",
    "loadtest": "loadtest:command",
    "scenario": "scenario:group",
    "gate": "results:gate",
    "compare": "results:compare",
    "schema": "results:schema",
    "doctor": "machine:doctor",
    "noise": "machine:noise",
    "record": "record:command",
    "decode": "decode:command",
    "capture": "capture:group",
    "layout": "layout:command",
    "bandwidth": "bandwidth:command",
}
"""Where each command is defined: module of this package, and function or `typer.Typer`."""


class LazyGroup(Group):
    """Imports the module of a command when the command is called. `vfctl --help` reads `commands.json` instead."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of `--help`."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build a command; None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        defined = getattr(importlib.import_module(f"vfctl.cli.{module}"), attribute)
        if not isinstance(defined, typer.Typer):
            function, defined = defined, typer.Typer(rich_markup_mode=None, add_completion=False)
            defined.command(cmd_name, cls=Command)(function)
        command = typer.main.get_command(defined)
        command.name = cmd_name
        return command

    def summaries(self, ctx: Any) -> dict[str, str]:
        """One line of help for each command."""
        return {name: described_commands()[name]["help"] for name in COMMANDS}


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vfctl {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="vfctl",
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            help="Print log lines of this level and above, also of child processes. May follow the command. The "
            "environment variable VFCTL_LOG does the same.",
            envvar=VARIABLE,
            show_default="warning",
        ),
    ] = None,
) -> None:
    """Serve, record, replay, decode and load-test VisionFlow's binary WebSocket stream (V4).

    Examples:
        vfctl loadtest                            starts its own server if none is running
        vfctl serve                               then: vfctl watch ws://127.0.0.1:8765/ws
        vfctl record ws://127.0.0.1:8765/ws run.mcap
    """
    set_level(log_level)


def _with_log_level_first(arguments: list[str]) -> list[str]:
    """Options of `vfctl` itself stand before the command; this one may also follow it."""
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--log-level" or argument.startswith("--log-level="):
            end = index + (2 if argument == "--log-level" else 1)
            if end > len(arguments):
                return [argument]  # its value is missing
            return arguments[index:end] + arguments[:index] + arguments[end:]
    return arguments


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code (`vfctl.errors` has the table). No traceback for bad input."""
    command = typer.main.get_command(app)
    arguments = _with_log_level_first(list(arguments))
    only_prints = not {"-h", "--help", "--version", "--show-completion"}.isdisjoint(arguments)
    printing = until_stdout_closes() if only_prints else nullcontext()
    try:
        with printing, command.make_context("vfctl", [*arguments]) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except typer.TyperException as error:
        return explain(error, arguments)
    except VfctlError as error:
        print_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else EXIT_OK
    except Exception as error:
        traceback.print_exc()
        sys.stderr.write(f"\nerror: {type(error).__name__}. This is a bug of vfctl {__version__}; please report it.\n")
        return EXIT_BUG
    return EXIT_OK
