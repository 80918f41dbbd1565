"""`vfctl replay`."""

from __future__ import annotations

import asyncio
import glob
from pathlib import Path
from typing import Annotated

import typer

from vfctl.cli.options import AllowOriginOption, HostOption, PortOption
from vfctl.cli.replay_display import ReplayDisplay, steer
from vfctl.cli.serve import allowed_origins, serve
from vfctl.cli.signals import stop_on_signals
from vfctl.client.playback import PlaybackSummary, play_to
from vfctl.errors import EXIT_INTERRUPTED, PeerError, UsageError
from vfctl.quantities import format_count
from vfctl.server.options import DEFAULT_MAX_CLIENTS, Admin, Recording, ServerOptions
from vfctl.server.process.workers import workers_here
from vfctl.terminal.output import log_line, stderr_console


def command(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Recording to play, whatever vfctl can open; several files or a pattern are one recording."
        ),
    ],
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    speed: Annotated[float, typer.Option(help="2 plays twice as fast as it was.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    start: Annotated[float, typer.Option(help="Seconds into the recording to begin at.", metavar="S")] = 0.0,
    paused: Annotated[bool, typer.Option("--paused", help="Begin in pause; space or PATCH /replay goes on.")] = False,
    admin: Annotated[
        Admin,
        typer.Option(
            help="Who may steer it while it runs (PATCH /replay): nobody, programs on this machine, or whoever reaches "
            "the port."
        ),
    ] = Admin.LOCAL,
    allow_origin: AllowOriginOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Do not serve: send what clients sent in the recording to the server there, at the times they did.",
            metavar="URL",
        ),
    ] = None,
) -> None:
    """Serve a recording as if it were live.

    Filters and encodings work, and trailers are fresh. On a terminal space pauses, the arrows left and right seek, up
    and down change the speed; PATCH /replay does the same. At the end the last state stays. Ctrl-C stops.
    """

    paths = _expanded(files)
    if to is not None:
        if loop or paused:
            raise UsageError("--loop and --paused are for serving, and there is --to")
        _report(_play_to(to, paths, speed, start))
        return

    options = ServerOptions(
        source=Recording(tuple(paths), speed=speed, loop=loop, start_s=start, paused=paused),
        host=host,
        port=port,
        workers=workers_here(DEFAULT_MAX_CLIENTS),
        admin=admin,
        allow_origins=allowed_origins(allow_origin),
    )
    serve(options, ReplayDisplay, steer)


def _expanded(files: list[str]) -> list[str]:
    """File names, with the patterns among them that no shell has expanded."""

    names: list[str] = []
    for file in files:
        found = [] if Path(file).exists() else sorted(glob.glob(file))  # noqa: PTH207  # Path.glob needs a root
        names += found or [file]
    return names


def _play_to(url: str, paths: list[str], speed: float, start_s: float) -> PlaybackSummary:

    async def play() -> PlaybackSummary:
        stop = stop_on_signals()
        with stderr_console().status(f"playing to {url}") as status:

            def on_progress(summary: PlaybackSummary) -> None:
                status.update(
                    f"{summary.position_s:.1f} s: {format_count(summary.sent, 'message')} sent on "
                    f"{format_count(summary.connections, 'connection')}"
                )

            return await play_to(url, paths, speed=speed, start_s=start_s, stop=stop, on_progress=on_progress)

    return asyncio.run(play())


def _report(summary: PlaybackSummary) -> None:

    kinds = ", ".join(f"{count:,} {name}" for name, count in summary.by_type.most_common())
    log_line(
        f"sent {format_count(summary.sent, 'message')} on {format_count(summary.connections, 'connection')}"
        f" in {summary.duration_s:.1f} s{f' ({kinds})' if kinds else ''}"
    )
    log_line(f"late by more than {summary.LATE_MS:g} ms: {summary.late:,}; at most {summary.latest_ms:.1f} ms")
    if summary.reconnects:
        log_line(f"connections lost and opened again: {summary.reconnects}")
    if summary.unsent:
        log_line(f"not sent, because their connections were not there: {summary.unsent:,}")
    if summary.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED if not summary.sent else 0)
    if summary.unsent and not summary.sent:
        raise typer.Exit(PeerError.exit_code)
