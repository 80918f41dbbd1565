"""`vfctl record`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from vfctl.capture.recording.rotation import Rotation, parse_rotation
from vfctl.cli.options import RotateOption
from vfctl.cli.signals import stop_on_signals
from vfctl.client.record import RecordSummary, record
from vfctl.quantities import format_count, parse_size_bytes
from vfctl.terminal.output import check_duration, log_line, stderr_console


def command(
    url: Annotated[str, typer.Argument(help="Where to record, for example ws://127.0.0.1:8765/ws.")],
    out: Annotated[Path, typer.Argument(help="File to write: .mcap, or .bin for the plain messages.")],
    duration: Annotated[float | None, typer.Option(help="Seconds to record; else until Ctrl-C.", metavar="S")] = None,
    max_size: Annotated[
        str | None, typer.Option(help="End when all files together are so large, such as 2GB.", metavar="SIZE")
    ] = None,
    rotate: RotateOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file, or the series of that name, if it exists.")
    ] = False,
) -> None:
    """Record a live stream, each message exactly as it comes.

    A connection that is lost is opened again, and the file says where. A full disk ends the recording; what has been
    written is whole.
    """

    check_duration(duration)
    max_bytes = parse_size_bytes(max_size, "--max-size") if max_size is not None else None
    rotation = parse_rotation(rotate) if rotate is not None else None
    summary = asyncio.run(_record(url, out, duration, max_bytes, rotation, overwrite))
    kinds = ", ".join(f"{count:,} {name}" for name, count in summary.by_type.most_common())
    files = summary.files or [out]
    where = str(files[0]) if len(files) == 1 else f"{files[0]} … {files[-1].name} ({len(files)} files)"
    log_line(f"{where}: {format_count(summary.messages, 'message')} in {summary.duration_s:.1f} s ({kinds or 'none'})")
    if summary.reconnects:
        log_line(f"connections lost and opened again: {summary.reconnects}; what was sent in between is missing")
    if summary.full:
        log_line(f"--max-size {max_size} is reached")
    if summary.ended_by_server:
        log_line("the server ended the stream")
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
