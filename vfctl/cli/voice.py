"""`vfctl voice`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from vfctl.cli.help import Command, Group
from vfctl.cli.mistakes import check_file
from vfctl.cli.options import DurationOption, OverwriteOption, UrlArgument
from vfctl.cli.signals import stop_on_signals
from vfctl.client.audio import SoundReader
from vfctl.client.voice import Heard, Sent, receive_voice, send_voice
from vfctl.errors import UsageError
from vfctl.files import check_writable
from vfctl.terminal.output import log_line, stderr_console

group = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Send voice to the clients of a server, or record it.",
)


@group.command(cls=Command, name="send")
def send(
    file: Annotated[
        Path,
        typer.Argument(
            help="Sound file: WAV of any rate, width and number of channels, FLAC, Ogg or MP3.",
            metavar="FILE",
            callback=check_file,
        ),
    ],
    url: UrlArgument,
) -> None:
    """Send a sound file to all listening clients, in real time.

    It is sent as 16 kHz mono in messages of 20 ms. While the connection is lost, nothing is sent. Ctrl-C stops.

    Examples:
        vfctl voice send hello.wav ws://127.0.0.1:8765/ws
    """
    with SoundReader(file) as sound:
        sent = asyncio.run(_send(url, sound))
    said_s = sent.messages / 50
    log_line(f"sent {said_s:.1f} s of {sound.duration_s:.1f} s in {sent.messages:,} messages")
    if sent.reconnects:
        log_line(f"connections lost and opened again: {sent.reconnects}")


async def _send(url: str, sound: SoundReader) -> Sent:
    stop = stop_on_signals()
    with stderr_console().status(f"connecting to {url}") as status:

        def on_progress(said_s: float) -> None:
            status.update(f"sending: {said_s:.0f} of {sound.duration_s:.0f} s")

        return await send_voice(url, sound.messages(), stop, on_progress)


@group.command(cls=Command, name="receive")
def receive(
    url: UrlArgument,
    out: Annotated[
        Path, typer.Argument(help="WAV file to write: 16 kHz, mono, 16 bit.", metavar="OUT", callback=check_file)
    ],
    duration: DurationOption = None,
    speaker: Annotated[
        int | None,
        typer.Option(help="Record only this client.", metavar="ID", min=0, show_default="all clients, mixed"),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Record voice into a WAV file: all speakers mixed into one track, or one of them.

    The file is as long as the recording took, with silence where nobody speaks or the connection is lost. At the end,
    vfctl prints the number of each speaker.

    Examples:
        vfctl voice receive ws://127.0.0.1:8765/ws heard.wav --duration 30s
    """
    if out.suffix.lower() not in ("", ".wav"):
        raise UsageError(f"OUT is {out}, expected a .wav file", hint=f"did you mean {out.with_suffix('.wav')}?")
    check_writable(out, overwrite=overwrite)
    heard = asyncio.run(_receive(url, out, duration, speaker))
    log_line(f"{out}: {heard.duration_s:.1f} s; {_who(heard)}")
    if heard.lost:
        log_line(f"messages lost: {heard.lost}")
    if heard.reconnects:
        log_line(f"connections lost and opened again: {heard.reconnects}; voice sent in between is missing")
    if heard.ended_by_server:
        log_line("the server closed the connection")


async def _receive(url: str, out: Path, duration_s: float | None, speaker: int | None) -> Heard:
    stop = stop_on_signals()
    with stderr_console().status(f"connecting to {url}") as status:

        def on_progress(heard: Heard) -> None:
            status.update(f"recording: {heard.duration_s:.0f} s; {_who(heard)}")

        return await receive_voice(url, out, speaker=speaker, duration_s=duration_s, stop=stop, on_progress=on_progress)


def _who(heard: Heard) -> str:
    spoke = [f"client {stream} ({count / 50:.1f} s)" for stream, count in heard.messages.items()]
    return ", ".join(spoke) or "nobody spoke"
