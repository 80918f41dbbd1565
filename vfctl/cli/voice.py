"""`vfctl voice`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from vfctl.cli.help import Command, Group
from vfctl.cli.signals import stop_on_signals
from vfctl.client.audio import SoundReader
from vfctl.client.voice import Heard, Sent, receive_voice, send_voice
from vfctl.files import check_writable
from vfctl.terminal.output import check_duration, log_line, stderr_console

group = typer.Typer(
    cls=Group, rich_markup_mode=None, no_args_is_help=True, help="Speak to those who look at a server, and hear them."
)

UrlArgument = Annotated[str, typer.Argument(help="The server, for example ws://127.0.0.1:8765/ws.")]


@group.command(cls=Command, name="send")
def send(
    file: Annotated[
        Path, typer.Argument(help="What to say: WAV of any rate, width and number of channels (or FLAC, Ogg, MP3).")
    ],
    url: UrlArgument,
) -> None:
    """Say a sound file to all who listen, in real time.

    It goes as 16 kHz mono in messages of 20 ms. While the connection is lost nothing is said; then it goes on.
    Ctrl-C ends it.
    """

    with SoundReader(file) as sound:
        sent = asyncio.run(_send(url, sound))
    said_s = sent.messages / 50
    log_line(f"said {said_s:.1f} s of {sound.duration_s:.1f} s in {sent.messages:,} messages")
    if sent.reconnects:
        log_line(f"connections lost and opened again: {sent.reconnects}")


async def _send(url: str, sound: SoundReader) -> Sent:

    stop = stop_on_signals()
    with stderr_console().status(f"connecting to {url}") as status:

        def on_progress(said_s: float) -> None:
            status.update(f"speaking: {said_s:.0f} of {sound.duration_s:.0f} s")

        return await send_voice(url, sound.messages(), stop, on_progress)


@group.command(cls=Command, name="receive")
def receive(
    url: UrlArgument,
    out: Annotated[Path, typer.Argument(help="WAV file to write: 16 kHz, mono, 16 bit.")],
    duration: Annotated[float | None, typer.Option(help="Seconds to listen; else until Ctrl-C.", metavar="S")] = None,
    speaker: Annotated[
        int | None, typer.Option(help="Only this client's voice; else all are mixed.", metavar="ID", min=0)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write what is said into a WAV file: all speakers mixed into one track, or one of them.

    The file is as long as one listens, with silence where nobody speaks, also while a lost connection is opened again.
    At the end each speaker's number is told.
    """

    check_duration(duration)
    check_writable(out, overwrite=overwrite)
    heard = asyncio.run(_receive(url, out, duration, speaker))
    log_line(f"{out}: {heard.duration_s:.1f} s; {_who(heard)}")
    if heard.lost:
        log_line(f"messages lost on the way: {heard.lost}")
    if heard.reconnects:
        log_line(f"connections lost and opened again: {heard.reconnects}; what was said in between is missing")
    if heard.ended_by_server:
        log_line("the server ended the stream")


async def _receive(url: str, out: Path, duration_s: float | None, speaker: int | None) -> Heard:

    stop = stop_on_signals()
    with stderr_console().status(f"connecting to {url}") as status:

        def on_progress(heard: Heard) -> None:
            status.update(f"listening: {heard.duration_s:.0f} s; {_who(heard)}")

        return await receive_voice(url, out, speaker=speaker, duration_s=duration_s, stop=stop, on_progress=on_progress)


def _who(heard: Heard) -> str:
    spoke = [f"client {stream} ({count / 50:.1f} s)" for stream, count in heard.messages.items()]
    return ", ".join(spoke) or "nobody spoke"
