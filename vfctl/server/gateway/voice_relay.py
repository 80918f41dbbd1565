"""Speech on its way to those who listen on one gateway: made once for all of them."""

from __future__ import annotations

from typing import Final

from vfctl.protocol import Trailer, VoiceData, encode
from vfctl.protocol.websocket import frame
from vfctl.server.clocks import unix_time_us
from vfctl.server.gateway.client_manager import ClientManager
from vfctl.server.gateway.connection import Connection

MAX_STREAMS: Final = 4096
"""Speakers whose count is kept; who has been silent for longest begins again at 1."""


class VoiceRelay:
    """Hands the messages of voice streams to the connections that listen.

    Args:
        clients: among whom they are.
    """

    def __init__(self, clients: ClientManager) -> None:
        self._clients = clients
        self._sequences: dict[int, int] = {}

    def say(self, message: VoiceData, stream: int, speaker: Connection | None) -> None:
        """Send it to all who listen but the speaker, who may be on another gateway.

        Args:
            stream: names the speaker.
        """
        sequence = self._sequences.pop(stream, 0) + 1
        self._sequences[stream] = sequence
        if len(self._sequences) > MAX_STREAMS:
            del self._sequences[next(iter(self._sequences))]
        if not self._clients.has_listeners:
            return
        trailer = Trailer(sequence, unix_time_us(), 0)
        plain, timed = (
            frame(encode(VoiceData(stream, message.sample_rate_hz, message.samples, each))) for each in (None, trailer)
        )
        self._clients.send_voice(plain, timed, speaker)
