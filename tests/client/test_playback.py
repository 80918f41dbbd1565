"""Playing what clients sent against a server: who says what when, and what is reported."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vfctl.capture import open_writer
from vfctl.capture.message import Direction
from vfctl.client import playback
from vfctl.client.playback import play_to
from vfctl.errors import InputError, PeerError, UsageError
from vfctl.protocol import (
    Filter,
    FilterUpdate,
    Heartbeat,
    Message,
    NodeDrag,
    NodeSelect,
    decode,
    encode,
)

START_NS = 1_700_000_000_000_000_000
Write = Callable[..., Path]
FILTER = FilterUpdate(Filter(search="a"))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "AHEAD_S", 0.1)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write([(time_s, connection, message), …]): a recording of clients."""

    def make(sent: list[tuple[float, int, Message]]) -> Path:
        path = tmp_path / "clients.mcap"
        with open_writer(path, metadata={}, overwrite=True) as writer:
            writer.write(encode(Heartbeat(1)), START_NS)
            for time_s, connection, message in sent:
                arrival_ns = START_NS + round(time_s * 1e9)
                writer.write(encode(message), arrival_ns, direction=Direction.CLIENT, connection=connection)
        return path

    return make


class Heard:
    """What each connection has said, and when."""

    def __init__(self) -> None:
        self.connections: list[list[Message]] = []
        self.times_s: list[float] = []

    async def act(self, visit):
        mine: list[Message] = []
        self.connections.append(mine)
        socket = await visit.accept()
        async for incoming in socket:
            message = decode(incoming.data)
            if not isinstance(message, Heartbeat):
                mine.append(message)
                self.times_s.append(time.monotonic())
        return socket


@pytest.fixture
def heard(server) -> Heard:
    heard = Heard()
    server.play(heard.act)
    return heard


async def test_each_recorded_connection_is_played_on_one_of_its_own_in_time(server, heard: Heard, write: Write):
    sent = [(5.0, 70, FILTER), (5.1, 71, NodeSelect(4)), (5.2, 70, NodeDrag(1, 2, 3, 4)), (5.3, 71, NodeSelect(None))]
    summary = await play_to(server.url, [write(sent)], start_s=5.0, stop=asyncio.Event())
    assert sorted(map(len, heard.connections)) == [2, 2]
    assert [FILTER, NodeDrag(1, 2, 3, 4)] in heard.connections
    assert [NodeSelect(4), NodeSelect(None)] in heard.connections
    gaps_s = [later - earlier for earlier, later in zip(heard.times_s, heard.times_s[1:], strict=False)]
    assert gaps_s == pytest.approx([0.1] * 3, abs=0.05)
    assert (summary.sent, summary.connections, summary.unsent, summary.interrupted) == (4, 2, 0, False)
    assert summary.by_type == {"FilterUpdate": 1, "NodeSelect": 2, "NodeDrag": 1}
    assert summary.position_s == pytest.approx(5.3)


async def test_a_recording_that_is_a_little_out_of_order(server, heard: Heard, write: Write):
    path = write([(0.10, 1, NodeSelect(1)), (0.05, 2, NodeSelect(2)), (0.08, 1, NodeSelect(3))])
    summary = await play_to(server.url, [path], stop=asyncio.Event())
    assert sorted(map(len, heard.connections)) == [1, 2]
    assert [NodeSelect(3), NodeSelect(1)] in heard.connections
    assert summary.sent == 3


async def test_speed_and_start(server, heard: Heard, write: Write):
    path = write([(0.0, 1, NodeSelect(1)), (10.0, 1, NodeSelect(2)), (20.0, 1, NodeSelect(3))])
    began_s = time.monotonic()
    await play_to(server.url, [path], start_s=9.0, speed=50, stop=asyncio.Event())
    assert 0.2 <= time.monotonic() - began_s < 5
    assert heard.connections == [[NodeSelect(2), NodeSelect(3)]]


async def test_a_connection_that_is_lost_comes_back_with_its_filter(server, heard: Heard, write: Write, monkeypatch):
    async def lose(visit):
        socket = await visit.accept()
        mine: list[Message] = []
        heard.connections.append(mine)
        mine.append(decode(await socket.receive_bytes()))
        return await visit.drop()

    server.play(lose, heard.act)
    path = write([(0.0, 1, FILTER), (0.9, 1, NodeSelect(2)), (1.2, 1, NodeSelect(3))])  # it comes back after 0.5 s
    summary = await play_to(server.url, [path], stop=asyncio.Event())
    assert heard.connections == [[FILTER], [FILTER, NodeSelect(2), NodeSelect(3)]]
    assert (summary.reconnects, summary.sent, summary.unsent) == (1, 3, 0)


async def test_what_comes_while_a_connection_is_away_is_not_sent_and_counted(server, acts, write: Write):
    server.play(acts.say(close=1000))
    summary = await play_to(server.url, [write([(0.3, 1, NodeSelect(1))])], stop=asyncio.Event())
    assert (summary.sent, summary.unsent) == (0, 1)


async def test_connections_are_bounded(server, heard: Heard, write: Write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(playback, "MAX_CONNECTIONS", 3)
    path = write([(0.0, number, NodeSelect(number)) for number in range(8)])
    summary = await play_to(server.url, [path], stop=asyncio.Event())
    assert (summary.connections, summary.sent, summary.unsent) == (3, 3, 5)


async def test_stop_ends_it_early(server, heard: Heard, write: Write):
    stop = asyncio.Event()
    path = write([(0.0, 1, NodeSelect(1)), (600.0, 1, NodeSelect(2))])

    def on_progress(summary) -> None:
        if summary.sent:
            stop.set()

    summary = await asyncio.wait_for(play_to(server.url, [path], stop=stop, on_progress=on_progress), 10)
    assert (summary.sent, summary.interrupted) == (1, True)


async def test_a_server_that_is_not_there_is_a_peer_error(server, acts, write: Write):
    server.play(acts.answer(404, ""))
    with pytest.raises(PeerError, match="404"):
        await play_to(server.url, [write([(0, 1, NodeSelect(1))])], stop=asyncio.Event())


async def test_recordings_with_nothing_to_play(server, write: Write):
    with pytest.raises(InputError, match="has no messages of clients"):
        await play_to(server.url, [write([(0, 1, Heartbeat(1))])], stop=asyncio.Event())
    path = write([(1, 1, NodeSelect(1))])
    for options, said in (({"start_s": 2}, "after 2 s"), ({"start_s": -1}, "from -1 s"), ({"speed": 0}, "speed 0")):
        with pytest.raises(UsageError, match=said):
            await play_to(server.url, [path], stop=asyncio.Event(), **options)
