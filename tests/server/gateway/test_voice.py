"""Speech through a gateway: who gets it, how much, and what it may not hold up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import urllib.request
from typing import TYPE_CHECKING
from unittest.mock import Mock

import numpy as np
import pytest

from vfctl.bus import Envelope, Kind
from vfctl.bus.unix_socket import MAX_WAITING_VOICE, Subscriber
from vfctl.protocol import FullGraph, NodeSelect, Notice, PositionUpdate, VoiceData, decode, encode
from vfctl.sockets.fan_out import unsent_bytes
from vfctl.stream.voice_limit import MESSAGES_PER_S

if TYPE_CHECKING:
    from tests.server.conftest import Stage

PCM = np.arange(320, dtype=np.int16)
SAID = VoiceData(0, 16_000, PCM)


def relayed(stage: Stage, client: int, gateway: int = 0) -> None:
    stage.bus.publish_event(Envelope(Kind.EVENT, encode(SAID), gateway, client))


async def metric(stage: Stage, name: str) -> float:
    def read() -> str:
        with urllib.request.urlopen(f"{stage.http}/metrics") as answer:
            return answer.read().decode()

    text = await asyncio.to_thread(read)
    line = next(line for line in text.splitlines() if line.startswith(f'{name}_total{{gateway="0"}}'))
    return float(line.split()[1])


async def test_it_goes_to_those_who_listen_and_never_back(stage: Stage) -> None:
    speaker, listener, deaf = [await stage.connect(query) for query in ("?voice=1", "?voice=1", "")]
    relayed(stage, client=1)
    relayed(stage, client=1, gateway=1)  # of that number, but on the other gateway
    assert [(await listener.receive_kind(VoiceData)).stream for _ in range(2)] == [1, 2**24 + 1]
    assert (await speaker.receive_kind(VoiceData)).stream == 2**24 + 1
    stage.tick(1)
    assert isinstance(await deaf.receive(), FullGraph)
    assert isinstance(await deaf.receive(), PositionUpdate)


async def test_the_sequence_is_the_streams_and_those_in_step_stay_so(stage: Stage) -> None:
    """A late listener begins where the stream is; what a heartbeat or an answer leaves behind holds nobody up."""
    first = await stage.connect("?voice=1&timed=1")
    relayed(stage, client=9)
    relayed(stage, client=9)
    heard = [await first.receive_kind(VoiceData) for _ in range(2)]
    late = await stage.connect("?voice=1&timed=1")
    for _ in range(3):
        relayed(stage, client=9)
        relayed(stage, client=8)
    heard += [await first.receive_kind(VoiceData) for _ in range(6)]
    assert [each.trailer.sequence for each in heard if each.trailer and each.stream == 9] == [1, 2, 3, 4, 5]
    assert [each.trailer.sequence for each in heard if each.trailer and each.stream == 8] == [1, 2, 3]
    assert (await late.receive_kind(VoiceData)).trailer.sequence == 3  # type: ignore[union-attr]
    traffic = stage.gateway.clients.traffic
    assert (traffic.voice_messages, traffic.voice_skipped) == (2 + 12, 0)
    stage.tick(1)
    assert isinstance(await first.receive_kind(PositionUpdate), PositionUpdate)


async def test_what_is_too_much_is_dropped_counted_and_said_once(stage: Stage) -> None:
    speaker = await stage.connect("?voice=1&notices=1")
    for _ in range(2 * MESSAGES_PER_S):
        await speaker.send(VoiceData(7, 16_000, PCM[:1]))
    await speaker.send(NodeSelect(0))
    heard = []
    while not heard or heard[-1].kind is not Kind.COMMAND or not isinstance(decode(heard[-1].payload), NodeSelect):
        heard.append(await asyncio.wait_for(stage.commands.get(), 5))
    said = [decode(each.payload) for each in heard[:-1]]
    assert MESSAGES_PER_S <= len(said) < 1.5 * MESSAGES_PER_S
    assert {message.stream for message in said if isinstance(message, VoiceData)} == {0}
    notice = await speaker.receive_kind(Notice)
    assert "too much" in notice.body["message"]
    assert await metric(stage, "vfctl_voice_messages_dropped") == 2 * MESSAGES_PER_S - len(said)
    stage.tick(1)
    assert isinstance(await speaker.receive(), PositionUpdate), "a second notice within the second"


@pytest.mark.parametrize("rate_hz", [0, 7999, 48_001, 2**32 - 1])
async def test_a_rate_that_nobody_can_play_is_not_relayed(stage: Stage, rate_hz: int) -> None:
    speaker = await stage.connect("?voice=1&notices=1")
    await speaker.send(VoiceData(0, rate_hz, PCM))
    assert f"{rate_hz} Hz" in (await speaker.receive_kind(Notice)).body["message"]
    assert stage.commands.empty()


async def test_a_listener_that_is_behind_loses_speech_and_not_states(stage: Stage) -> None:
    """Nobody reads: speech stops long before the kernel is full, so that the next frame still has its place."""
    listener = await stage.connect("?voice=1")
    await listener.receive_kind(FullGraph)
    connection = stage.gateway.clients.get(1)
    assert connection is not None
    reading = listener.socket._response.connection.transport  # type: ignore[union-attr]
    reading.pause_reading()
    told = Envelope(Kind.EVENT, encode(VoiceData(0, 16_000, np.zeros(8000, np.int16))), 1, 9)
    for _ in range(2000):
        stage.gateway.handle(told)
        await asyncio.sleep(0)
    assert connection.transport.get_write_buffer_size() < 20_000, "speech waits behind speech"
    assert stage.gateway.clients.traffic.voice_skipped > 500
    reading.abort()  # it would wait ten seconds for an answer to its Close


def test_what_is_unsent_is_told_of_real_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sender:
        accepted, _ = server.accept()
        sender.setblocking(False)
        fds = np.array([sender.fileno(), -1, 10**6], np.int32)
        assert unsent_bytes(fds).tolist() == [0, 0, 0]
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.send(bytes(65536))
        unsent, *others = unsent_bytes(fds).tolist()
        accepted.close()
    assert unsent > 0
    assert others == [0, 0]


async def test_speech_on_the_bus_pushes_out_no_selection_and_stands_behind_states() -> None:
    written: list[bytes] = []
    writer = Mock()
    writer.write = written.append
    writer.drain = lambda: asyncio.sleep(3600)
    subscriber = Subscriber(writer)
    chosen = Envelope(Kind.EVENT, encode(NodeSelect(3)), 0, 1)
    subscriber.put(chosen)
    for _ in range(3000):
        subscriber.put(Envelope(Kind.EVENT, encode(SAID), 0, 2))
    subscriber.put(Envelope(Kind.CONFIRM, bytes(8)))
    task = asyncio.create_task(subscriber.write_forever())
    await asyncio.sleep(0)
    task.cancel()
    first = Envelope(Kind.CONFIRM, bytes(8)).pack() + chosen.pack()
    assert written[0].startswith(first)
    assert len(written[0]) - len(first) == MAX_WAITING_VOICE * len(Envelope(Kind.EVENT, encode(SAID)).pack())
