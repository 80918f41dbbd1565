"""Sound files, pacing and mixing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vfctl.client.audio import MESSAGE_SAMPLES, VOICE_HZ, SoundReader, VoiceMix
from vfctl.client.voice import Pacer
from vfctl.errors import InputError
from vfctl.protocol import Trailer, VoiceData


def sine(rate_hz: int, hz: float, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def loudest_hz(samples: np.ndarray, rate_hz: int = VOICE_HZ) -> float:
    return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * rate_hz / len(samples))


@pytest.mark.parametrize("width", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 1), (44_100, 2), (96_000, 6)])
def test_any_usual_wav_is_read(tmp_path: Path, width: str, rate_hz: int, channels: int) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.tile(sine(rate_hz, 1000)[:, None], channels), rate_hz, width)
    with SoundReader(path) as sound:
        messages = list(sound.messages())
        assert sound.duration_s == pytest.approx(0.5, abs=1e-4)
    assert {(len(each), each.dtype) for each in messages} == {(MESSAGE_SAMPLES, np.dtype(np.int16))}
    assert len(messages) == 25
    said = np.concatenate(messages)
    assert loudest_hz(said) == pytest.approx(1000, abs=3)
    assert np.abs(said[2000:6000]).max() == pytest.approx(0.5 * 32767, rel=0.06)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 100])
def test_what_is_no_sound_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"in\.wav"):
        SoundReader(path)
    with pytest.raises(InputError, match="No such file"):
        SoundReader(tmp_path / "none.wav")
    soundfile.write(path, np.zeros(0), 8000)
    with pytest.raises(InputError, match="no sound in it"):
        SoundReader(path)


def test_pacing_does_not_drift_and_does_not_catch_up_in_a_burst() -> None:
    pacer, now_s = Pacer(10.0), 10.0
    for _ in range(500):
        now_s += pacer.wait_s(now_s) + 0.003  # each sleep is late
    assert now_s == pytest.approx(10.0 + 499 * 0.02 + 0.003)
    now_s += 5.0
    assert pacer.wait_s(now_s) == 0.0
    assert pacer.wait_s(now_s) == pytest.approx(0.02)


def test_speakers_are_added_up_where_they_spoke() -> None:
    mix = VoiceMix()
    loud = np.full(320, 30_000, np.int16)
    for number in range(5):  # unevenly come, evenly spoken
        mix.add(VoiceData(1, VOICE_HZ, loud, Trailer(number + 1, 0, 0)), 1.0 + number * 0.02 + (number % 2) * 0.015)
    mix.add(VoiceData(2, VOICE_HZ, loud, Trailer(1, 0, 0)), 1.0)
    mix.add(VoiceData(1, VOICE_HZ, loud, Trailer(9, 0, 0)), 3.0)
    mix.add(VoiceData(3, 0, loud), 1.0)
    first = mix.final_part(3.5)
    rest = mix.finish(4.0)
    whole = np.concatenate([first, rest])
    assert len(first) == 1.5 * VOICE_HZ
    assert len(whole) == 4 * VOICE_HZ
    expected = np.zeros(4 * VOICE_HZ, np.int16)
    expected[16_000:17_600] = 30_000
    expected[16_000:16_320] = 32_767
    expected[48_000:48_320] = 30_000
    assert np.array_equal(whole, expected)
    assert mix.speakers == {1: 6, 2: 1}
    assert mix.lost == 3
