"""Voice: from a speaker to the source within a rate limit, and from the bus to all listeners of this gateway."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vfctl.protocol import Trailer, VoiceData, encode
from vfctl.protocol.websocket import frame
from vfctl.server.gateway.bus_client import CommandSender
from vfctl.server.gateway.connection import Connection
from vfctl.server.gateway.frame_sender import FrameSender
from vfctl.server.gateway.notices import NoticeSender
from vfctl.server.runtime import unix_time_us
from vfctl.server.scoreboard import Traffic
from vfctl.stream.voice_limit import (
    BYTES_PER_S,
    HIGHEST_RATE_HZ,
    LOWEST_RATE_HZ,
    MESSAGES_PER_S,
    VoiceDecision,
    VoiceLimit,
)

MAX_STREAMS: Final = 4096
"""Voice streams with a sequence number. When there are more, the stream that was silent longest restarts at 1."""


@dataclass(slots=True)
class VoiceIntake:
    """Forwards the voice messages of clients to the source, within a rate limit for each client.

    Args:
        commands: sends them to the source.
        notices: tells clients when messages are dropped.
        traffic: counts dropped messages.
    """

    _commands: CommandSender
    _notices: NoticeSender
    _traffic: Traffic

    def receive(self, connection: Connection, message: VoiceData, size: int) -> None:
        """Forward a client's message, or drop it.

        Args:
            connection: the speaker.
            message: what it sent.
            size: bytes of the encoded message.
        """
        now_us = connection.last_received_us
        limit = connection.voice_limit = connection.voice_limit or VoiceLimit(now_us)
        if LOWEST_RATE_HZ <= message.sample_rate_hz <= HIGHEST_RATE_HZ:
            decision = limit.admit(size, now_us)
            reason = f"too much voice; the limit is {MESSAGES_PER_S} messages and {BYTES_PER_S:,} bytes a second"
        else:
            decision = limit.drop(now_us)
            reason = f"a sample rate of {message.sample_rate_hz} Hz; expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
        if decision is VoiceDecision.RELAY:
            self._commands.send(connection, encode(VoiceData(0, message.sample_rate_hz, message.samples)))
            return
        self._traffic.voice_dropped += 1
        if decision is VoiceDecision.DROP_AND_NOTIFY:
            self._notices.send_error(connection, reason)


@dataclass(slots=True)
class VoiceRelay:
    """Sends voice messages from the bus to the connections that receive voice. Each is encoded once for all of them.

    Args:
        sender: writes to the connections.
    """

    _sender: FrameSender
    _sequences: dict[int, int] = field(default_factory=dict)

    def send(self, message: VoiceData, stream: int, speaker: Connection | None) -> None:
        """Send a message to all listeners except the speaker.

        Args:
            message: its samples.
            stream: number of the voice stream, for the listeners.
            speaker: None if it is on another gateway.
        """
        sequence = self._sequences.pop(stream, 0) + 1
        self._sequences[stream] = sequence
        if len(self._sequences) > MAX_STREAMS:
            del self._sequences[next(iter(self._sequences))]
        if not self._sender.has_listeners:
            return
        trailer = Trailer(sequence, unix_time_us(), 0)
        plain, timed = (
            frame(encode(VoiceData(stream, message.sample_rate_hz, message.samples, each))) for each in (None, trailer)
        )
        self._sender.send_voice(plain, timed, speaker)
