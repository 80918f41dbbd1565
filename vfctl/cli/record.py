"""`vfctl record`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vfctl.cli.output import check_duration, people, say

if TYPE_CHECKING:
    from vfctl.client.record import RecordSummary


def command(
    url: Annotated[str, typer.Argument(help="Where to record, for example ws://127.0.0.1:8765/ws.")],
    out: Annotated[Path, typer.Argument(help="File to write: .mcap, or .bin for the plain messages.")],
    duration: Annotated[float | None, typer.Option(help="Seconds to record; else until Ctrl-C.", metavar="S")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Record a live stream, each message exactly as it comes."""
    import asyncio

    check_duration(duration)
    summary = asyncio.run(_record(url, out, duration, overwrite))
    kinds = ", ".join(f"{count:,} {name}" for name, count in summary.by_type.most_common())
    say(f"{out}: {summary.messages:,} messages in {summary.duration_s:.1f} s ({kinds or 'none'})")
    if summary.reconnects:
        say(f"connections lost and opened again: {summary.reconnects}; what was sent in between is missing")
    if summary.ended_by_server:
        say("the server ended the stream")
    say(f"try: vfctl decode {out}, or vfctl replay {out}")


async def _record(url: str, out: Path, duration_s: float | None, overwrite: bool) -> RecordSummary:
    import asyncio
    import signal

    from vfctl.client.record import record

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_interrupt() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)  # the second Ctrl-C stops at once

    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    with people().status(f"connecting to {url}") as status:

        def on_progress(summary: RecordSummary) -> None:
            status.update(
                f"recording: {summary.messages:,} messages, {summary.bytes / 1e6:.1f} MB, {summary.duration_s:.0f} s"
            )

        return await record(url, out, duration_s=duration_s, stop=stop, on_progress=on_progress, overwrite=overwrite)
