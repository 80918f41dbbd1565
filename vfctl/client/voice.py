"""Sends a sound file as voice, and records the voice of other clients, without a browser."""

from __future__ import annotations

import asyncio
import contextlib
import time
import wave
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vfctl.client.audio import MESSAGE_SAMPLES, VOICE_HZ, Samples, VoiceMix
from vfctl.client.connection import Connection, connect
from vfctl.client.lifecycle import State
from vfctl.errors import InputError, PeerError
from vfctl.protocol import Filter, VoiceData

MESSAGE_S: Final = MESSAGE_SAMPLES / VOICE_HZ
MAX_LATE_S: Final = 0.1
"""Seconds. A sender that is later than this continues from now on, and does not catch up in a burst."""

_NOTHING: Final = Filter(kinds=frozenset())
_WRITE_PERIOD_S: Final = 0.5


class Pacer:
    """Says when each message is due: every 20 ms from the first, so that errors do not add up.

    Args:
        now_s: monotonic time.
    """

    def __init__(self, now_s: float) -> None:
        self._due_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next message is due, and count it."""
        if now_s - self._due_s > MAX_LATE_S:
            self._due_s = now_s
        wait_s = self._due_s - now_s
        self._due_s += MESSAGE_S
        return max(0.0, wait_s)


@dataclass(slots=True)
class Sent:
    """Number of messages sent, and of reconnects."""

    messages: int = 0
    reconnects: int = 0


@dataclass(slots=True)
class Heard:
    """What was received.

    Attributes:
        duration_s: duration of the file.
        messages: number of messages in it, by speaker.
        lost: messages that are missing in the speakers' sequences.
        reconnects: how often the connection was lost and opened again.
        ended_by_server: the server closed the stream.
    """

    duration_s: float = 0.0
    messages: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    reconnects: int = 0
    ended_by_server: bool = False


async def send_voice(
    url: str, messages: Iterable[Samples], stop: asyncio.Event, on_progress: Callable[[float], None]
) -> Sent:
    """Send voice in real time. Sending pauses while the connection is lost.

    Args:
        url: the server.
        messages: int16 [320] at 16 kHz each.
        stop: ends it early.
        on_progress: called with the seconds sent so far.

    Raises:
        PeerError: the server cannot be reached, or is lost for good.
        ProtocolError: the server sends something that is not V4.
    """
    sent = Sent()
    opened = asyncio.Event()

    def on_change(state: State, _: str) -> None:
        opened.set() if state is State.CONNECTED else opened.clear()

    async with connect(url, filter=_NOTHING, on_change=on_change) as connection:

        async def speak() -> None:
            pacer = Pacer(time.monotonic())
            for samples in messages:
                await asyncio.sleep(pacer.wait_s(time.monotonic()))
                while True:
                    await opened.wait()
                    with contextlib.suppress(PeerError):  # lost just now: send again after the reconnect
                        await connection.send(VoiceData(0, VOICE_HZ, samples))
                        break
                    opened.clear()
                sent.messages += 1
                on_progress(sent.messages * MESSAGE_S)
            await asyncio.sleep(pacer.wait_s(time.monotonic()))

        await _until_first(speak(), _read_on(connection), stop, None)
        sent.reconnects = connection.reconnects
    return sent


async def receive_voice(
    url: str,
    out_path: Path,
    *,
    speaker: int | None,
    duration_s: float | None,
    stop: asyncio.Event,
    on_progress: Callable[[Heard], None],
) -> Heard:
    """Record voice to a WAV file (16 kHz, mono, s16). It has silence where nobody speaks.

    Args:
        url: the server.
        out_path: the file.
        speaker: record only this one; None mixes all.
        duration_s: seconds; None records until `stop`, or until the server ends the stream.
        stop: ends it early.
        on_progress: called twice a second.

    Raises:
        PeerError: the server cannot be reached, or is lost for good. The file has all voice before that.
        ProtocolError: the server sends something that is not V4.
        InputError: the file cannot be written.
    """
    heard, mix = Heard(), VoiceMix()
    async with connect(url, timed=True, voice=True, filter=_NOTHING) as connection:
        try:
            with out_path.open("wb") as raw, wave.open(raw, "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(VOICE_HZ)
                began_s = time.monotonic()

                def write(samples: Samples) -> None:
                    out.writeframesraw(samples.astype("<i2").tobytes())
                    heard.duration_s = out.tell() / VOICE_HZ
                    heard.messages, heard.lost, heard.reconnects = mix.speakers, mix.lost, connection.reconnects

                async def listen() -> None:
                    async for message in connection:
                        if isinstance(message, VoiceData) and speaker in (None, message.stream):
                            mix.add(message, time.monotonic() - began_s)
                    heard.ended_by_server = True

                async def write_on() -> None:
                    while True:
                        await asyncio.sleep(_WRITE_PERIOD_S)
                        write(mix.final_part(time.monotonic() - began_s))
                        on_progress(heard)

                try:
                    await _until_first(listen(), write_on(), stop, duration_s)
                finally:
                    now_s = time.monotonic() - began_s
                    write(mix.finish(now_s if duration_s is None else min(now_s, duration_s)))
        except OSError as error:
            raise InputError(f"cannot write {out_path}: {error.strerror}") from None
    return heard


async def _read_on(connection: Connection) -> None:
    """Read and discard messages, because reconnects happen while reading."""
    async for _ in connection.payloads():
        pass
    raise PeerError("the server closed the connection before everything was sent")


async def _until_first(
    one: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None], stop: asyncio.Event, limit_s: float | None
) -> None:
    """Run both until one ends, `stop` is set, or the time is over. Raises the error of either."""
    tasks = [asyncio.create_task(one), asyncio.create_task(other), asyncio.create_task(_stopped(stop))]
    try:
        await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()
