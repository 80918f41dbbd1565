"""`vfctl replay`."""

from __future__ import annotations

import asyncio
import glob
from pathlib import Path
from typing import Annotated

import typer

from vfctl.cli.mistakes import check_file, check_url
from vfctl.cli.options import MAIN, NETWORK, AllowOriginOption, HostOption, PortOption
from vfctl.cli.replay_display import ReplayDisplay, steer
from vfctl.cli.serve import allowed_origins, serve
from vfctl.cli.signals import stop_on_signals
from vfctl.client.playback import PlaybackSummary, play_to
from vfctl.errors import EXIT_INTERRUPTED, PeerError, UsageError
from vfctl.quantities import format_count
from vfctl.server.capacity import workers_here
from vfctl.server.options import DEFAULT_MAX_CLIENTS, Admin, Recording, ServerOptions
from vfctl.terminal.output import log_line, stderr_console


def command(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Recording in any format that vfctl reads. Several files, or a pattern, are one recording.",
            metavar="FILE",
            callback=check_file,
        ),
    ],
    speed: Annotated[
        float, typer.Option(help="Playback speed; 2 is twice as fast as recorded.", metavar="FACTOR")
    ] = 1.0,
    start: Annotated[float, MAIN.duration(help="Start at this time of the recording.", show_default="0s")] = 0.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end.")] = False,
    paused: Annotated[bool, typer.Option("--paused", help="Start paused. Space or PATCH /replay resumes.")] = False,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    allow_origin: AllowOriginOption = None,
    admin: Annotated[
        Admin,
        NETWORK.option(
            help="Who may control the replay (PATCH /replay): nobody, programs on this machine, or anyone who reaches "
            "the port."
        ),
    ] = Admin.LOCAL,
    to: Annotated[
        str | None,
        typer.Option(
            help="Send the messages of the recorded clients to this server, at the recorded times, instead of serving.",
            metavar="URL",
            callback=check_url,
        ),
    ] = None,
) -> None:
    """Serve a recording as if it were live.

    Filters and encodings work, and time stamps are fresh. On a terminal, space pauses, left and right seek, up and down
    change the speed. PATCH /replay does the same. After the end, the server keeps the last state. Ctrl-C stops it.

    Examples:
        vfctl replay run.mcap --speed 2 --loop
        vfctl replay 'run-*.mcap' --start 1.5min --paused
        vfctl replay run.mcap --to ws://127.0.0.1:8765/ws
    """
    paths = _expanded(files)
    if to is not None:
        if loop or paused:
            raise UsageError("--loop and --paused are for serving, but --to sends to another server")
        print_sent(_play_to(to, paths, speed, start))
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
    """The files, with the patterns expanded that no shell has expanded."""
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


def print_sent(summary: PlaybackSummary) -> None:
    """Print what was sent, how late, and what was not."""
    kinds = ", ".join(f"{count:,} {name}" for name, count in summary.by_type.most_common())
    log_line(
        f"sent {format_count(summary.sent, 'message')} on {format_count(summary.connections, 'connection')}"
        f" in {summary.duration_s:.1f} s{f' ({kinds})' if kinds else ''}"
    )
    log_line(f"late by more than {summary.LATE_MS:g} ms: {summary.late:,}; at most {summary.latest_ms:.1f} ms")
    if summary.reconnects:
        log_line(f"connections lost and opened again: {summary.reconnects}")
    if summary.unsent:
        log_line(f"not sent, because their connections were lost: {summary.unsent:,}")
    if summary.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED if not summary.sent else 0)
    if summary.unsent and not summary.sent:
        raise typer.Exit(PeerError.exit_code)
