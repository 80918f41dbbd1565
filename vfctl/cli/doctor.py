"""`vfctl doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from vfctl.terminal.output import data, until_reader_leaves


def command(
    clients: Annotated[int, typer.Option(help="Simulated clients that the machine is to hold.", min=1)] = 50_000,
    frame_bytes: Annotated[int, typer.Option(help="Size of a frame; 8856 are 316 nodes, raw.", min=1)] = 8_856,
    rate: Annotated[float, typer.Option(help="Frames a second and client.", min=0.001)] = 1.0,
    source_ip: Annotated[
        str | None, typer.Option(help="Addresses of this machine to connect from.", metavar="CIDR")
    ] = None,
    remote: Annotated[bool, typer.Option("--remote", help="The server runs on another machine.")] = False,
) -> None:
    """Check whether this machine can hold a load test, and say what lifts a limit that is too low.

    Exit code 1 if something does not suffice.
    """
    from rich.markup import escape
    from rich.table import Table

    from vfctl.loadtest.control.preflight import preflight, read_limits
    from vfctl.loadtest.generator.plan import LOOPBACK_EXAMPLE, REMOTE_EXAMPLE, source_addresses

    sources = source_addresses(REMOTE_EXAMPLE if remote else LOOPBACK_EXAMPLE, clients, source_ip)
    checks = preflight(
        clients,
        read_limits(),
        sources=max(1, len(sources)),
        server_here=not remote,
        frame_bytes=frame_bytes,
        frames_per_s=rate,
    )
    table = Table("", "needed", "there", "", title=f"{clients:,} clients")
    for check in checks:
        table.add_row(check.what, check.needed, check.available, "[green]ok[/]" if check.ok else "[red]too low[/]")
    failed = [check for check in checks if not check.ok]
    console = data()
    with until_reader_leaves():
        console.print(table)
        for check in failed:
            console.print(f"{check.what}: try  {escape(check.command)}")
    raise typer.Exit(1 if failed else 0)
