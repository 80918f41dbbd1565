"""Sound in files, as VoiceData has it: mono, s16, at one rate."""

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

VOICE_HZ: Final = 16_000
MESSAGE_SAMPLES: Final = 320
"""20 ms."""

Samples = NDArray[np.int16]

_BLOCK_FRAMES: Final = 8192


class SoundReader:
    """A sound file of any form that libsndfile knows, read piece by piece and mixed to one channel.

    Args:
        path: of the file.

    Attributes:
        duration_s: of what is in it.

    Raises:
        InputError: it cannot be read, or has no sound in it.
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
        """int16 [320] each, 20 ms; the last is filled up with silence.

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
    """From −1 … 1 to s16; what is louder is clipped."""
    return np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
