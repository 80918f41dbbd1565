"""The `vfctl` command: its subcommands, and how any of them ends."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated

import typer

from vfctl import __version__
from vfctl.cli import (
    bandwidth,
    capture,
    compare,
    decode,
    doctor,
    gate,
    layout,
    loadtest,
    noise,
    record,
    replay,
    scenario,
    schema,
    serve,
    voice,
    watch,
)
from vfctl.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, VfctlError
from vfctl.terminal.output import complain, until_reader_leaves

app = typer.Typer(
    name="vfctl",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Try `vfctl loadtest`: it starts a server of its own if none is running.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vfctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Serve, record, replay, decode and load-test VisionFlow's binary WebSocket stream (V4)."""


app.command("serve")(serve.command)
app.command("layout")(layout.command)
app.command("loadtest")(loadtest.command)
app.command("gate")(gate.command)
app.command("compare")(compare.command)
app.command("noise")(noise.command)
app.command("record")(record.command)
app.command("replay")(replay.command)
app.command("decode")(decode.command)
app.command("bandwidth")(bandwidth.command)
app.command("watch")(watch.command)
app.command("doctor")(doctor.command)
app.command("schema")(schema.command)
app.add_typer(capture.group, name="capture")
app.add_typer(voice.group, name="voice")
app.add_typer(scenario.group, name="scenario")


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code (`vfctl.errors` has the table). No traceback for bad input."""
    try:
        only_prints = not {"-h", "--help", "--version"}.isdisjoint(arguments)
        with until_reader_leaves() if only_prints else nullcontext():
            app(list(arguments), prog_name="vfctl")
    except SystemExit as done:  # typer ends every command so: 0, 2 for usage, 130 for Ctrl-C, or what we have raised
        return done.code if isinstance(done.code, int) else EXIT_OK
    except VfctlError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        sys.stderr.write(f"\nerror: {type(error).__name__}. This is a bug of vfctl {__version__}; please report it.\n")
        return EXIT_BUG
    return EXIT_OK
