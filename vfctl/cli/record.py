"""`vfctl record`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from vfctl.capture.recording.series import Rotation, parse_rotation
from vfctl.cli.options import MAIN, DurationOption, OutArgument, OverwriteOption, RotateOption, UrlArgument
from vfctl.cli.signals import stop_on_signals
from vfctl.client.record import RecordSummary, record
from vfctl.quantities import format_count
from vfctl.terminal.output import log_line, stderr_console


def command(
    url: UrlArgument,
    out: OutArgument,
    duration: DurationOption = None,
    max_size: Annotated[
        int | None, MAIN.size(help="Stop when all files together reach this size.", show_default="no limit")
    ] = None,
    rotate: RotateOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Record a live stream, each message exactly as it arrives.

    A lost connection is opened again, and the file says where. A full disk ends the recording; the file stays readable.

    Examples:
        vfctl record ws://127.0.0.1:8765/ws run.mcap --duration 1min
        vfctl record ws://127.0.0.1:8765/ws run.mcap --rotate 100MB,10min --max-size 2GB
    """
    rotation = parse_rotation(rotate) if rotate is not None else None
    summary = asyncio.run(_record(url, out, duration, max_size, rotation, overwrite))
    kinds = ", ".join(f"{count:,} {name}" for name, count in summary.by_type.most_common())
    files = summary.files or [out]
    where = str(files[0]) if len(files) == 1 else f"{files[0]} … {files[-1].name} ({len(files)} files)"
    log_line(f"{where}: {format_count(summary.messages, 'message')} in {summary.duration_s:.1f} s ({kinds or 'none'})")
    if summary.reconnects:
        log_line(f"connection lost and opened again: {summary.reconnects} times; messages sent in between are missing")
    if summary.full:
        log_line("stopped at --max-size")
    if summary.ended_by_server:
        log_line("the server closed the connection")
    if summary.files:
        log_line(
            f"try: vfctl decode {files[0]}, or vfctl replay {' '.join(map(str, files[:3]))}{' …' * (len(files) > 3)}"
        )


async def _record(
    url: str, out: Path, duration_s: float | None, max_bytes: int | None, rotation: Rotation | None, overwrite: bool
) -> RecordSummary:
    stop = stop_on_signals()
    with stderr_console().status(f"connecting to {url}") as status:

        def on_progress(summary: RecordSummary) -> None:
            number = f" in {len(summary.files)} files" if len(summary.files) > 1 else ""
            status.update(
                f"recording: {format_count(summary.messages, 'message')}, {summary.bytes / 1e6:.1f} MB{number}, "
                f"{summary.duration_s:.0f} s"
            )

        return await record(
            url,
            out,
            duration_s=duration_s,
            max_bytes=max_bytes,
            rotation=rotation,
            stop=stop,
            on_progress=on_progress,
            overwrite=overwrite,
        )
