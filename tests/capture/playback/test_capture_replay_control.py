"""Steering a replay: pause, speed, seeking, from any file to any other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vfctl.capture import open_writer
from vfctl.capture.message import Direction
from vfctl.capture.playback.playlist import Playlist
from vfctl.capture.playback.replay import ReplaySource
from vfctl.capture.playback.replay_clock import ReplayClock
from vfctl.capture.playback.seeking import seek_index
from vfctl.capture.recording.series import Rotation, SeriesWriter
from vfctl.errors import InputError, UsageError
from vfctl.protocol import (
    CompactUpdate,
    FullGraph,
    NodeSelect,
    Notice,
    PositionUpdate,
    VoiceData,
    encode,
)
from vfctl.protocol.compact_encoder import CompactEncoder, View
from vfctl.protocol.grid import positions_of

START_NS = 1_700_000_000_000_000_000
NOW_US = 1_800_000_000_000_000
Nodes = Callable[..., Any]
Record = Callable[..., Path]


def shown(source: ReplaySource, times_s: Sequence[float]) -> list[float | None]:
    """The x of the first node as of each time since the first tick; None where nothing new came."""
    updates = [source.tick(NOW_US + round(time_s * 1e6)) for time_s in times_s]
    return [None if update is None else round(float(update.nodes["x"][0]), 3) for update in updates]


@pytest.fixture
def recording(tmp_path: Path, graph_message: FullGraph, make_nodes: Nodes) -> Path:
    """FullGraph (x = 0) and 600 updates, x = 1 …, ten a second: a minute, in as many chunks."""
    path = tmp_path / "minute.mcap"
    with open_writer(path, metadata={}) as writer:
        writer.write(encode(graph_message), START_NS)
        for number in range(1, 600):
            writer.write(encode(PositionUpdate(make_nodes(number))), START_NS + number * 100_000_000)
    return path


@pytest.fixture
def series(tmp_path: Path, graph_message: FullGraph, make_nodes: Nodes) -> list[Path]:
    """The same in six files."""
    with SeriesWriter(tmp_path / "six.mcap", metadata={}, rotation=Rotation(None, 10.0)) as writer:
        writer.write(encode(graph_message), START_NS)
        for number in range(1, 600):
            writer.write(encode(PositionUpdate(make_nodes(number))), START_NS + number * 100_000_000)
    assert len(writer.files) == 6
    return writer.files


# --- the clock


def test_the_clock_of_a_replay() -> None:
    transport = ReplayClock(position_s=5)
    assert transport.at(1_000_000) == 5
    assert transport.at(3_000_000) == 7
    transport.change(speed=4)
    assert transport.at(3_500_000) == 9
    assert transport.until_us(11) == 500_000
    transport.change(paused=True)
    assert transport.at(9_000_000) == 9
    assert transport.until_us(11) is None
    transport.change(position_s=1, paused=False)
    assert transport.at(9_250_000) == 2
    assert transport.at(9_000_000) == 2  # a clock that goes back stands still
    assert transport.until_us(float("inf")) is None
    assert transport.until_us(0) == 0


def test_small_steps_add_up_exactly() -> None:
    transport = ReplayClock(speed=0.1)
    for tick in range(100_001):
        position_s = transport.at(tick)
    assert position_s == 0.01


# --- pause, speed, position


def test_pause_and_go_on(recording: Path) -> None:
    source = ReplaySource(recording)
    assert shown(source, [0, 0.1]) == [0, 1]
    assert source.control({"paused": True})["paused"]
    update = source.tick(NOW_US + 120_000)
    assert update is not None
    assert update.settled  # nothing moves: clients are served at the stable interval
    assert update.trailer is not None
    assert update.trailer.interval_us == 0
    assert source.settled
    assert shown(source, [0.2, 5]) == [None, None]
    assert source.next_change_us(NOW_US + 5_000_000) is None
    source.control({"paused": False})
    assert shown(source, [5.0, 5.05, 5.08]) == [1, None, 2]
    assert not source.settled


def test_a_replay_may_begin_in_pause(recording: Path) -> None:
    source = ReplaySource(recording, paused=True, start_s=3)
    assert shown(source, [0, 10]) == [30, None]
    source.control({"paused": False})
    assert shown(source, [10, 10.1]) == [30, 31]  # once more: it is not settled any longer


def test_seek_forwards_and_back(recording: Path) -> None:
    source = ReplaySource(recording)
    assert shown(source, [0]) == [0]
    for position_s, x in ((30, 300), (59.9, 599), (0.05, 0), (12.34, 123), (0, 0)):
        status = source.control({"position_s": position_s})
        assert status["position_s"] == position_s
        assert shown(source, [0]) == [x]
    assert source.graph_version == 0  # it is the same graph, wherever one looks
    assert shown(source, [0.1]) == [1]


def test_seek_in_a_recording_without_an_index(recording: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(recording.read_bytes()[:-100])
    assert seek_index(cut) is None
    source = ReplaySource(cut)
    for position_s, x in ((30, 300), (5, 50)):
        source.control({"position_s": position_s})
        assert shown(source, [0]) == [x]
    for thread in threading.enumerate():
        if thread.name == "replay-duration":
            thread.join(10)
    assert source.control({})["duration_s"] == pytest.approx(59.9)


def test_seeking_reads_only_what_it_needs(recording: Path) -> None:
    """As far from the start as may be, and yet the graph and one chunk are all that is read before it."""
    playlist = Playlist([recording])
    found = []
    for timed in playlist.messages(50.0, []):
        found.append(timed.time_s)
        if timed.time_s > 50:
            break
    assert found[0] == 0  # the FullGraph, and its chunk
    assert len(found) < 40
    assert found[-1] == pytest.approx(50.1)
    content = recording.read_bytes()
    for timed in list(playlist.messages(50.0, []))[-5:]:
        assert content[timed.captured.offset] == 0x06  # there is a chunk where it says that the message is


def test_after_the_end_one_can_seek_back(recording: Path) -> None:
    source = ReplaySource(recording)
    assert shown(source, [0, 60, 61]) == [0, 599, None]
    assert source.control({}) == {
        "file": str(recording),
        "position_s": 59.9,
        "duration_s": 59.9,
        "start_unix_s": START_NS / 1e9,
        "speed": 1.0,
        "paused": False,
        "loop": False,
        "ended": True,
    }
    assert not source.control({"position_s": 10.0})["ended"]
    assert shown(source, [61, 61.1]) == [100, 101]


def test_speed_changes_from_where_it_is(recording: Path) -> None:
    source = ReplaySource(recording)
    assert shown(source, [0, 1]) == [0, 10]
    assert source.control({"speed": 10})["speed"] == 10
    assert shown(source, [1, 1.009, 1.01, 2]) == [None, None, 11, 110]
    assert source.next_change_us(NOW_US + 2_000_000) == 10_000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position_s": -1}, "from -1 s"),
        ({"position_s": 60}, "ends after 59.9 s"),
        ({"position_s": "10"}, "from 10 s"),
        ({"position_s": True}, "from True s"),
        ({"position_s": float("nan")}, "from nan s"),
        ({"speed": 0}, "speed 0"),
        ({"speed": 1e9}, "to 1000"),
        ({"speed": None}, "speed None"),
        ({"speed": 1e-320}, "expected 0.001"),
        ({"speed": 10**400}, "speed 10"),
        ({"position_s": 10**5000}, "from 10"),
        ({"paused": 1}, "true or false"),
        ({"loop": "yes"}, "true or false"),
        ({"positon_s": 1}, "no 'positon_s'"),
    ],
)
def test_changes_that_cannot_be_change_nothing(changes: dict[str, Any], said: str, recording: Path) -> None:
    source = ReplaySource(recording)
    with pytest.raises(UsageError, match=said):
        source.control({"paused": True, **changes})
    assert not source.control({})["paused"]


def test_the_interval_to_the_next_positions_is_told(recording: Path) -> None:
    source = ReplaySource(recording)
    update = source.tick(NOW_US)
    assert update is not None
    assert update.trailer is not None
    assert update.trailer.interval_us == 100_000
    assert source.next_change_us(NOW_US + 30_000) == 70_000
    source.control({"speed": 2})
    source.tick(NOW_US + 30_000)
    assert source.next_change_us(NOW_US + 30_000) == 35_000


# --- several files


def test_a_series_is_one_recording(series: list[Path]) -> None:
    source = ReplaySource(series)
    assert source.control({})["duration_s"] == pytest.approx(59.9)
    found = shown(source, [number / 10 for number in range(600)])
    assert found == list(range(600))
    assert source.graph_version == 0


def test_seek_across_files(series: list[Path]) -> None:
    source = ReplaySource(series)
    for position_s, x in ((45.6, 456), (9.95, 99), (10, 100), (59.9, 599), (0, 0), (30.0, 300)):
        source.control({"position_s": position_s})
        assert shown(source, [0]) == [x]
    assert shown(source, [30 - 30 + 29.9]) == [599]


def test_a_file_of_a_series_plays_alone(series: list[Path]) -> None:
    source = ReplaySource(series[3])
    assert source.graph.labels == ("Sieben", "Drei", "Neun ü")
    assert shown(source, [0, 0.1]) == [300, 301]


def test_damage_in_one_file_costs_only_that(series: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    series[1].write_bytes(series[1].read_bytes()[:-60])
    source = ReplaySource(series)
    found = shown(source, [number / 10 for number in range(600)])
    assert found == list(range(600))
    assert "what is intact is played" in caplog.text


def test_a_pipe_is_played_alone_and_forwards(tmp_path: Path, recording: Path) -> None:
    with pytest.raises(InputError, match="alone"):
        ReplaySource([recording, "-"])


# --- other contents


def test_compact_positions_are_played_and_sought(tmp_path: Path, graph_message: FullGraph) -> None:
    encoder, view, history = CompactEncoder(chain=3), View(graph_message.nodes["id"].copy()), None
    nodes = graph_message.nodes.copy()
    nodes["y"] = [0, 4096, 8192]
    xs = []
    with open_writer(tmp_path / "c.mcap", metadata={"encoding": "compact"}) as writer:
        writer.write(encode(graph_message), START_NS)
        for number in range(1, 100):
            nodes["x"] = number**2 / 4
            xs.append(number**2 / 4)
            encoder.push(number, positions_of(nodes))
            section, history = encoder.section(view, history)
            writer.write(encode(CompactUpdate(3, section)), START_NS + number * 100_000_000)
    source = ReplaySource(tmp_path / "c.mcap")
    assert np.allclose(shown(source, [0, 0.2, 5.0, 5.1])[1:], [xs[1], xs[49], xs[50]], atol=1)
    for position_s in (9.0, 1.0, 0.3):
        source.control({"position_s": position_s})
        (x,) = shown(source, [5.1])
        assert x == pytest.approx(xs[round(position_s * 10) - 1], abs=1)
    source = ReplaySource(tmp_path / "c.mcap", start_s=4.0)  # in the midst of the chain
    assert shown(source, [0])[0] == pytest.approx(xs[39], abs=1)


def test_what_clients_sent_is_not_served(tmp_path: Path, graph_message: FullGraph, make_nodes: Nodes) -> None:
    samples = np.array([1, 2], np.int16)
    with open_writer(tmp_path / "a.mcap", metadata={}) as writer:
        writer.write(encode(NodeSelect(3)), START_NS, direction=Direction.CLIENT, connection=5)
        writer.write(encode(graph_message), START_NS + 1)
        writer.write(encode(VoiceData(0, 16_000, samples)), START_NS + 10_000_000, direction=Direction.CLIENT)
        writer.write(encode(VoiceData(9, 16_000, samples)), START_NS + 10_000_000)
        writer.write(encode(Notice({"notice": "selection", "client": 5, "node_id": 3})), START_NS + 20_000_000)
        writer.write(encode(Notice({"notice": "error", "message": "yours"})), START_NS + 20_000_000)
        writer.write(encode(PositionUpdate(make_nodes(1))), START_NS + 30_000_000)
    source = ReplaySource(tmp_path / "a.mcap")
    source.tick(NOW_US)
    source.tick(NOW_US + 25_000)
    events = source.events(NOW_US + 25_000)
    assert [type(event).__name__ for event in events] == ["VoiceData", "Notice"]
    assert isinstance(events[0], VoiceData)
    assert events[0].stream == 9


def test_frames_of_deployed_servers_are_played(tmp_path: Path) -> None:
    records = np.zeros(2, np.dtype([("id", "<u4"), ("place", "<f4", 6), ("distance", "<f4"), ("parent", "<i4")]))
    records["id"] = [5 | 1 << 31, 6 | 1 << 30]
    records["place"][:, 0] = 7.5
    (tmp_path / "v2.bin").write_bytes(b"\x02" + records.tobytes())
    source = ReplaySource(tmp_path / "v2.bin")
    assert source.graph.ids.tolist() == [5, 6]
    assert shown(source, [0]) == [7.5]


@pytest.fixture
def two_connections(tmp_path: Path, graph_message: FullGraph, make_nodes: Nodes) -> Path:
    """The minute of `recording` twice, in turns: connection 3 has x = 1 …, connection 5 has x = 1001 …."""
    path = tmp_path / "two.mcap"
    with open_writer(path, metadata={}) as writer:
        for number in range(600):
            for connection, first in ((3, 0), (5, 1000)):
                update = PositionUpdate(make_nodes(first + number))
                message = update if number else FullGraph(update.nodes, graph_message.edges)
                writer.write(encode(message), START_NS + number * 100_000_000, connection=connection)
    return path


def test_measuring_a_damaged_recording_leaves_its_playback_at_the_same_connection(
    two_connections: Path, tmp_path: Path
) -> None:
    """Without an index the duration is measured in a thread, while the recording is already played."""
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(two_connections.read_bytes()[:-1000])
    playlist = Playlist([damaged])
    assert not playlist.can_jump
    messages = playlist.messages(0, [])
    connections = set()
    for _ in range(200):
        connections.add(next(messages).captured.connection)
        playlist.measure()
    assert connections == {3}


@pytest.mark.parametrize("connections", [(3, 5), (0, 1), (1, 0)])
def test_seeking_among_several_connections_reads_only_what_it_needs(
    connections: tuple[int, int], tmp_path: Path, graph_message: FullGraph, make_nodes: Nodes
) -> None:
    """Also if the connection that is played is not the one of the first messages before the moment."""
    path = tmp_path / "three.mcap"
    with open_writer(path, metadata={}) as writer:
        for number in range(600):
            order = connections if number < 300 else connections[::-1]
            for connection in order:
                update = PositionUpdate(make_nodes(number + 1000 * (connection != connections[0])))
                message = update if number else FullGraph(update.nodes, graph_message.edges)
                writer.write(encode(message), START_NS + number * 100_000_000, connection=connection)
    playlist = Playlist([path])
    assert playlist.can_jump
    times_s, played = [], set()
    for timed in playlist.messages(50.0, []):
        times_s.append(timed.time_s)
        played.add(timed.captured.connection)
    assert played == {connections[0]}
    assert times_s[-1] == 59.9
    assert min(times_s) == 0.0  # the chunk with the graph
    assert not [time_s for time_s in times_s if 2 < time_s < 48]
    source = ReplaySource(path, start_s=50.0)
    assert shown(source, [0, 0.1]) == [500, 501]
