"""Voice in the page: its parts alone, and a real browser with a WAV as its microphone."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from websockets.sync.client import connect

from vfctl.protocol import VoiceData, decode, encode

if TYPE_CHECKING:
    from .conftest import OpenTab, Server, Tab

MICROPHONE_HZ = 660  # tests/conftest.py gives the browser this tone

RESAMPLED = """async ([fromHz, toHz, hz, block]) => {
    const { Resampler } = await import('/viewer/resampler.js');
    const resampler = new Resampler(fromHz, toHz);
    const sine = Float32Array.from({ length: fromHz }, (_, i) => 0.5 * Math.sin(2 * Math.PI * hz * i / fromHz));
    const made = [];
    const out = new Float32Array(128);
    for (let i = 0; i < sine.length; i += block) {
        resampler.push(sine.subarray(i, i + block));
        for (let n; (n = resampler.pull(out));) made.push(...out.subarray(0, n));
    }
    return made;
}"""

BUFFER = """async (script) => {
    const { JitterBuffer } = await import('/viewer/voice-buffers.js');
    const buffer = new JitterBuffer(16_000);
    const heard = [], waiting = [];
    for (const step of script) {
        if (step.say) buffer.push(new Int16Array(320).fill(16384), 16_000, step.say);
        for (let ms = 0; ms < step.pull_ms; ms += 4) {
            const out = new Float32Array(64);
            buffer.pull(out);
            heard.push(...out);
            waiting.push(buffer.waiting_s);
        }
    }
    return { heard, waiting, speaking: buffer.speaking, ...buffer.counts };
}"""


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 16_000), (44_100, 16_000), (16_000, 48_000), (16_000, 16_000)])
def test_resampling_keeps_a_tone_and_lets_no_other_in(modules: Tab, from_hz: int, to_hz: int) -> None:
    made = np.array(modules.ask(RESAMPLED, [from_hz, to_hz, 1000, 128]))
    assert len(made) == pytest.approx(to_hz, abs=60)
    inner = made[200:-200]
    at = np.arange(len(inner)) / to_hz
    basis = np.stack([np.sin(2 * np.pi * 1000 * at), np.cos(2 * np.pi * 1000 * at)], 1)
    fit = basis @ np.linalg.lstsq(basis, inner, rcond=None)[0]
    assert np.abs(fit).max() == pytest.approx(0.5, rel=0.01)
    assert np.abs(inner - fit).max() < 0.001  # -54 dB
    if from_hz > to_hz:
        aliased = np.array(modules.ask(RESAMPLED, [from_hz, to_hz, 11_000, 128]))
        assert np.abs(aliased[200:-200]).max() < 0.001


def test_a_microphone_is_cut_into_messages_of_20_ms(modules: Tab) -> None:
    lengths, rest = modules.ask("""async () => {
        const { Packetiser } = await import('/viewer/voice-buffers.js');
        const packetiser = new Packetiser(48_000);
        const lengths = [];
        const block = new Float32Array(128).fill(0.5);
        for (let i = 0; i < 375; i++) lengths.push(...packetiser.push(block).map((pcm) => pcm.length));
        return [lengths, [...packetiser.end()]];
    }""")
    assert lengths == [320] * 49
    assert rest[100] == 16_384
    assert rest[-1] == 0


def steady(count: int, first: int = 1) -> list[dict[str, int]]:
    return [{"say": first + number, "pull_ms": 20} for number in range(count)]


def test_speech_is_heard_whole_after_60_ms_and_ends(modules: Tab) -> None:
    told = modules.ask(BUFFER, [*steady(50), {"pull_ms": 500}])
    heard = np.array(told["heard"])
    begins = int(np.flatnonzero(np.abs(heard) > 0.01)[0]) / 16
    assert 30 <= begins <= 62
    assert (heard > 0.49).sum() / 16 == pytest.approx(1000, abs=15)
    assert not told["speaking"]
    assert told | {"heard": 0, "waiting": 0} == {
        "heard": 0, "waiting": 0, "speaking": False, "messages": 50, "late": 0, "lost": 0, "gaps": 0,
    }  # fmt: skip


def test_uneven_messages_make_no_gap(modules: Tab) -> None:
    uneven = [{"say": n + 1, "pull_ms": 0 if n % 2 else 40} for n in range(50)]
    told = modules.ask(BUFFER, uneven)
    assert (told["gaps"], told["late"]) == (0, 0)


def test_a_lost_message_and_a_hold_up_are_silence_and_what_comes_late_is_left_out(modules: Tab) -> None:
    lost = modules.ask(BUFFER, [*steady(20), *steady(20, 22)])
    assert lost["lost"] == 1
    heard = np.array(lost["heard"])
    begin = int(np.flatnonzero(heard > 0.49)[0])
    assert (np.abs(heard[begin:]) < 0.01).sum() / 16 == pytest.approx(20, abs=5)
    held_up = modules.ask(
        BUFFER, [*steady(20), {"pull_ms": 250}, *[{"say": n, "pull_ms": 0} for n in range(21, 34)], *steady(20, 34)]
    )
    assert held_up["gaps"] == 1
    assert held_up["late"] > 0
    assert held_up["waiting"][-1] < 0.12
    again = modules.ask(BUFFER, [*steady(5), {"say": 3, "pull_ms": 20}])
    assert (again["messages"], again["late"]) == (5, 320)


@pytest.mark.parametrize("ppm", [-3000, 3000])
def test_another_clock_is_followed(modules: Tab, ppm: int) -> None:
    """Half a minute: without, 90 ms too many or too few would have come."""
    script, owed_ms = [], 0.0
    for number in range(1500):
        owed_ms += 20 * (1 + ppm / 1e6)
        pulled = int(owed_ms // 4) * 4
        owed_ms -= pulled
        script.append({"say": number + 1, "pull_ms": pulled})
    told = modules.ask(BUFFER.replace("heard.push(...out);", ""), script)
    assert (told["gaps"], told["late"]) == (0, 0)
    assert 0.02 < np.mean(told["waiting"][-200:]) < 0.13


def test_what_is_said_into_the_microphone_arrives(tab: OpenTab, live: Server) -> None:
    page = tab(permissions=["microphone"])
    page.until("vfctl.state === 'Connected'")
    with connect(live.url.replace("http", "ws") + "ws?voice=1", max_size=None) as listener:
        page.page.keyboard.down("t")
        heard: list[VoiceData] = []
        until_s = time.monotonic() + 20
        while len(heard) < 60 and time.monotonic() < until_s:
            message = decode(listener.recv(timeout=10))
            if isinstance(message, VoiceData):
                heard.append(message)
        assert page.ask("document.getElementById('talk').getAttribute('aria-pressed')") == "true"
        page.page.keyboard.up("t")
        page.until("vfctl.voice.state === 'off'")
        sent = page.ask("vfctl.voice.sent")
    assert {(len(each.samples), each.sample_rate_hz) for each in heard} == {(320, 16_000)}
    assert all(each.stream for each in heard)
    assert sent >= 60
    samples = np.concatenate([each.samples for each in heard[10:]]).astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert spectrum.argmax() * 16_000 / len(samples) == pytest.approx(MICROPHONE_HZ, abs=5)


def test_what_others_say_is_played_and_who_speaks_is_shown(tab: OpenTab, live: Server) -> None:
    page = tab().drawn()
    page.page.mouse.click(450, 300)
    page.until("vfctl.voice.context === 'running'")
    done = threading.Event()

    def speak() -> None:
        tone = (16_000 * np.sin(2 * np.pi * 1250 * np.arange(16_000) / 16_000)).astype(np.int16).reshape(-1, 320)
        with connect(live.url.replace("http", "ws") + "ws", max_size=None) as speaker:
            begun_s, number = time.monotonic(), 0
            while not done.is_set():
                speaker.send(encode(VoiceData(0, 16_000, tone[number % 50])))
                number += 1
                done.wait(max(0.0, begun_s + number * 0.02 - time.monotonic()))  # speech comes in real time

    speaking = threading.Thread(target=speak)
    speaking.start()
    try:
        page.until("vfctl.spectrum().level_db > -50 && Math.abs(vfctl.spectrum().frequency_hz - 1250) < 30")
        page.until("document.getElementById('speaking').textContent.startsWith('Speaking: client ')")
        page.until("vfctl.voice.heard[0].messages > 20")
    finally:
        done.set()
        speaking.join()
    page.until("document.getElementById('speaking').hidden")


def test_a_microphone_that_is_refused_is_said_so(tab: OpenTab) -> None:
    script = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    page = tab(script=script).drawn()
    page.page.locator("#talk").focus()
    page.page.keyboard.down(" ")
    page.until("document.getElementById('toast').textContent.includes('Allow it in the page')")
    page.page.keyboard.up(" ")
    assert page.ask("vfctl.voice.state") == "off"
