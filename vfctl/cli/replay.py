"""`vfctl replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfctl.cli.serve import HostOption, PortOption, serve


def command(
    file: Annotated[Path, typer.Argument(help="Recording to play: .mcap, or plain concatenated messages.")],
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    speed: Annotated[float, typer.Option(help="2 plays twice as fast as it was.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    start: Annotated[float, typer.Option(help="Seconds into the recording to begin at.", metavar="S")] = 0.0,
) -> None:
    """Serve a recording as if it were live.

    Filters and encodings work, and trailers are fresh. At the end the last state stays. Ctrl-C stops.
    """
    from vfctl.server.options import DEFAULT_MAX_CLIENTS, Recording, ServerOptions
    from vfctl.server.workers import workers_here

    source = Recording(file=str(file), speed=speed, loop=loop, start_s=start)
    serve(ServerOptions(source=source, host=host, port=port, workers=workers_here(DEFAULT_MAX_CLIENTS)))
