"""`vfctl voice` against a real server with two gateways."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent.parent / "viewer"))
from running_server import Server

Voice = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def voice() -> Iterator[Voice]:
    """voice("send", …): a process that is gone after the test, whatever becomes of it."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "vfctl", "voice", *map(str, arguments)]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = Server("serve", "--workers", "2", "--nodes", "20", "--generator", "tree")
    yield server.url.replace("http", "ws") + "ws"
    server.stop()


def test_what_one_sends_the_other_receives(url: str, voice: Voice, tmp_path: Path) -> None:
    said = 0.5 * np.sin(2 * np.pi * 700 * np.arange(44_100 * 3) / 44_100)
    soundfile.write(tmp_path / "in.wav", np.stack([said, said], 1), 44_100, "PCM_24")
    receiver = voice("receive", url, tmp_path / "out.wav")
    sender = voice("send", tmp_path / "in.wav", url)
    _, text = sender.communicate(timeout=60)
    assert sender.returncode == 0, text
    assert "sent 3.0 s of 3.0 s" in text
    receiver.send_signal(signal.SIGINT)
    _, text = receiver.communicate(timeout=20)
    assert receiver.returncode == 0, text
    assert "client " in text
    with wave.open(str(tmp_path / "out.wav")) as out:
        assert (out.getframerate(), out.getnchannels(), out.getsampwidth()) == (16_000, 1, 2)
        heard = np.frombuffer(out.readframes(out.getnframes()), "<i2")
    spoken = heard[np.flatnonzero(heard)[0] : np.flatnonzero(heard)[-1]]
    assert len(spoken) > 16_000
    assert np.abs(np.fft.rfft(spoken)).argmax() * 16_000 / len(spoken) == pytest.approx(700, abs=3)


def test_ctrl_c_ends_a_sender_properly(url: str, voice: Voice, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.zeros(60 * 8000), 8000)
    sender = voice("send", tmp_path / "in.wav", url)
    wait_until_a_client_is_connected(url)
    sender.send_signal(signal.SIGINT)
    _, text = sender.communicate(timeout=20)
    assert sender.returncode == 0, text
    assert "of 60.0 s" in text


def wait_until_a_client_is_connected(url: str) -> None:
    metrics = url.replace("ws://", "http://").removesuffix("ws") + "metrics"
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        with urllib.request.urlopen(metrics, timeout=10) as answer:
            clients = re.findall(r"^vfctl_clients\{.*\} (\S+)", answer.read().decode(), re.MULTILINE)
        if sum(map(float, clients)):
            return
        time.sleep(0.05)
    raise AssertionError("nobody connected within 60 s")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("send", "none.wav", "ws://127.0.0.1:1/ws"), 1, "cannot read none.wav"),
        (("receive", "ws://127.0.0.1:1/ws", "/tmp/vfctl-none.wav"), 4, "127.0.0.1:1"),
        (("receive", "ws://127.0.0.1:1/ws", "/no/such/folder.wav"), 1, "cannot write"),
        (("receive", "nonsense", "x.wav"), 2, "expected a URL"),
        (("receive", "ws://127.0.0.1:1/ws", "x.wav", "--duration", "-1"), 2, "--duration"),
    ],
)
def test_errors_are_said_and_have_their_code(voice: Voice, arguments: tuple[str, ...], code: int, said: str) -> None:
    process = voice(*arguments)
    _, text = process.communicate(timeout=30)
    assert process.returncode == code, text
    assert said in text
    assert "Traceback" not in text
