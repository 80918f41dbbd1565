"""Speech of simulated speakers: a tone whose first samples say when it was spoken.

The listeners are simulated by the same load generator, so the time from mouth to ear needs no clock of the server's.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from vfctl.protocol import VoiceData

SAMPLE_RATE_HZ: Final = 16_000
VOICE_MESSAGE_S: Final = 0.02
"""What browsers' voice chats commonly send at a time."""

_MARK: Final = b"vfctl ok"
"""Stands before the time, so that other people's speech is not taken for ours."""

_SPOKEN: Final = struct.Struct("<8sQ")
_FIRST_SAMPLE: Final = 16
"""Offset of the samples in a VoiceData message: header, stream, rate, count."""

_SAMPLES: Final = round(SAMPLE_RATE_HZ * VOICE_MESSAGE_S)
_TONE: Final = (8000 * np.sin(2 * np.pi * 440 * np.arange(_SAMPLES) / SAMPLE_RATE_HZ)).astype("<i2").tobytes()


def speak(now_us: int) -> VoiceData:
    """20 ms of a tone, marked with the unix time in µs."""
    pcm = _SPOKEN.pack(_MARK, now_us) + _TONE[_SPOKEN.size :]
    return VoiceData(0, SAMPLE_RATE_HZ, np.frombuffer(pcm, "<i2"))


def spoken_us(payload: bytes) -> int | None:
    """When a VoiceData message was spoken, unix time in µs; None if it is not one of ours."""
    if len(payload) < _FIRST_SAMPLE + _SPOKEN.size:
        return None
    mark, spoken_us = _SPOKEN.unpack_from(payload, _FIRST_SAMPLE)
    return int(spoken_us) if mark == _MARK else None
