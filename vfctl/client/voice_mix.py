"""What several speakers say, put together as it came."""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr

from vfctl.client.sound_file import VOICE_HZ, Samples
from vfctl.protocol import VoiceData

PAUSE_S: Final = 0.2
"""What comes so much later than it would follow on what the speaker said before begins anew at its time."""

KEPT_S: Final = 2.0
"""Later than this nothing can be added any more."""


class _Track:
    """Where a speaker stands."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.resampler = soxr.ResampleStream(rate_hz, VOICE_HZ, 1, dtype="int16")
        self.end = -1
        self.sequence = 0


class VoiceMix:
    """Adds up speakers on one time line at 16 kHz. Each keeps the distances of its own messages.

    Attributes:
        speakers: their streams, in the order in which they were first heard.
        lost: messages that are missing in the speakers' sequences.
    """

    def __init__(self) -> None:
        self.speakers: dict[int, int] = {}
        self.lost = 0
        self._tracks: dict[int, _Track] = {}
        self._sum = np.zeros(0, np.int32)
        self._begin = 0

    def add(self, message: VoiceData, at_s: float) -> None:
        """A message that came `at_s` seconds after the beginning."""
        if not 8_000 <= message.sample_rate_hz <= 48_000:
            return
        track = self._tracks.get(message.stream)
        if track is None or track.rate_hz != message.sample_rate_hz:
            track = self._tracks[message.stream] = _Track(message.sample_rate_hz)
        self.speakers[message.stream] = self.speakers.get(message.stream, 0) + 1
        here = round(at_s * VOICE_HZ)
        if track.end < 0 or here > track.end + PAUSE_S * VOICE_HZ:
            track.end = here
        sequence = message.trailer.sequence if message.trailer else 0
        if track.sequence and sequence > track.sequence + 1:
            self.lost += sequence - track.sequence - 1
        track.sequence = sequence
        samples = message.samples
        if track.rate_hz != VOICE_HZ:
            samples = track.resampler.resample_chunk(np.ascontiguousarray(samples))
        self._put(max(track.end, self._begin), samples)
        track.end = max(track.end, self._begin) + len(samples)

    def take(self, until_s: float) -> Samples:
        """What nothing can be added to any more at that time: int16, what is too loud clipped."""
        return self._cut(round((until_s - KEPT_S) * VOICE_HZ))

    def finish(self, until_s: float) -> Samples:
        """All the rest."""
        return self._cut(max(round(until_s * VOICE_HZ), self._begin + len(self._sum)))

    def _put(self, at: int, samples: Samples) -> None:
        end = at + len(samples) - self._begin
        if end > len(self._sum):
            self._sum = np.pad(self._sum, (0, end - len(self._sum)))
        self._sum[at - self._begin : end] += samples

    def _cut(self, end: int) -> Samples:
        count = end - self._begin
        if count <= 0:
            return np.zeros(0, np.int16)
        cut = self._sum[:count]
        self._sum = self._sum[count:]
        self._begin = end
        return np.pad(np.clip(cut, -32768, 32767).astype(np.int16), (0, count - len(cut)))
