"""Sound for VoiceData, mono s16 at 16 kHz: read from sound files, and mixed from several speakers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from vfctl.errors import InputError
from vfctl.protocol import VoiceData

VOICE_HZ: Final = 16_000
MESSAGE_SAMPLES: Final = 320
"""20 ms."""

Samples = NDArray[np.int16]

_BLOCK_FRAMES: Final = 8192


class SoundReader:
    """A sound file of any format that libsndfile reads, in pieces, mixed to one channel.

    Args:
        path: the file.

    Attributes:
        duration_s: its duration.

    Raises:
        InputError: it cannot be read, or has no samples.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb"):
                pass
            self._file = soundfile.SoundFile(path)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        except soundfile.LibsndfileError as error:
            hint = "WAV of any usual form will do"
            raise InputError(f"{path} is not a sound file that can be read: {error.error_string}", hint=hint) from None
        self.duration_s: float = self._file.frames / self._file.samplerate
        if not self._file.frames:
            self._file.close()
            raise InputError(f"{path} has no sound in it")

    def messages(self) -> Iterator[Samples]:
        """Yield int16 [320] for each 20 ms. The last is padded with silence.

        Raises:
            InputError: the file is damaged further on.
        """
        resampler = soxr.ResampleStream(self._file.samplerate, VOICE_HZ, 1, dtype="float32")
        rest = np.zeros(0, np.int16)
        while True:
            try:
                block = self._file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise InputError(f"{self._path} is damaged: {error.error_string}") from None
            last = len(block) < _BLOCK_FRAMES
            mono = np.nan_to_num(block.mean(axis=1, dtype=np.float32))
            rest = np.concatenate([rest, to_pcm(resampler.resample_chunk(mono, last=last))])
            whole = len(rest) // MESSAGE_SAMPLES * MESSAGE_SAMPLES
            yield from rest[:whole].reshape(-1, MESSAGE_SAMPLES)
            rest = rest[whole:]
            if last:
                if len(rest):
                    yield np.pad(rest, (0, MESSAGE_SAMPLES - len(rest)))
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def to_pcm(samples: NDArray[np.float32]) -> Samples:
    """Convert −1 … 1 to s16. Louder samples are clipped."""
    return np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)


PAUSE_S: Final = 0.2
"""Seconds. A message that comes this much later than the end of the speaker's last one starts at its own time."""

KEPT_S: Final = 2.0
"""Seconds after which nothing is added to the mix any more."""


class _Track:
    """The state of one speaker."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.resampler = soxr.ResampleStream(rate_hz, VOICE_HZ, 1, dtype="int16")
        self.end = -1
        self.sequence = 0


class VoiceMix:
    """Mixes speakers on one timeline at 16 kHz. Each keeps the gaps between its messages.

    Attributes:
        speakers: number of messages by stream, in the order of the first message.
        lost: messages that are missing in the speakers' sequences.
    """

    def __init__(self) -> None:
        self.speakers: dict[int, int] = {}
        self.lost = 0
        self._tracks: dict[int, _Track] = {}
        self._sum = np.zeros(0, np.int32)
        self._begin = 0

    def add(self, message: VoiceData, at_s: float) -> None:
        """Add a message that came `at_s` seconds after the start."""
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

    def final_part(self, until_s: float) -> Samples:
        """Return the part of the mix that is final at that time: int16 [samples], clipped."""
        return self._cut(round((until_s - KEPT_S) * VOICE_HZ))

    def finish(self, until_s: float) -> Samples:
        """Return the rest of the mix, int16 [samples]."""
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
