"""Replays under a clock of ours."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfctl.capture.playback.replay import ReplaySource
from vfctl.errors import CaptureError, InputError, UsageError, VfctlError
from vfctl.protocol import (
    EDGE_DTYPE,
    FullGraph,
    Heartbeat,
    Message,
    NodeDrag,
    NodeSelect,
    PositionUpdate,
    Trailer,
    VoiceData,
    encode,
)

NOW_US = 1_800_000_000_000_000
Nodes = Callable[..., Any]
Record = Callable[..., Path]


def play(source: ReplaySource, times_s: Sequence[float]) -> list[float | None]:
    """The x of the first node as of each time since the first tick; None where nothing new came."""
    shown = []
    for time_s in times_s:
        update = source.tick(NOW_US + round(time_s * 1e6))
        shown.append(None if update is None else float(update.nodes["x"][0]))
    return shown


@pytest.fixture
def updates(make_nodes: Nodes) -> list[PositionUpdate]:
    """x = 1 … 5."""
    return [PositionUpdate(make_nodes(x)) for x in range(1, 6)]


@pytest.fixture
def recording(record: Record, graph_message: FullGraph, updates: list[PositionUpdate]) -> Path:
    """FullGraph at 0 s (x = 0), then updates at 0.05 … 0.25 s."""
    return record([graph_message, *updates])


def test_each_update_is_given_once_when_its_time_has_come(recording: Path) -> None:
    source = ReplaySource(recording)
    assert play(source, [0, 0.016, 0.049, 0.05, 0.066, 0.11, 0.12]) == [0, None, None, 1, None, 2, None]
    assert not source.finished
    assert play(source, [0.2, 0.25, 0.29]) == [4, 5, None]
    assert source.finished
    assert not source.settled
    update = source.tick(NOW_US + 300_000)  # once more, since nothing moves any longer
    assert update is not None
    assert (update.settled, float(update.nodes["x"][0])) == (True, 5)
    assert play(source, [0.4, 100]) == [None, None]


def test_only_the_newest_of_those_due_is_given(recording: Path) -> None:
    assert play(ReplaySource(recording), [0, 0.21]) == [0, 4]


def test_trailers_are_fresh(recording: Path) -> None:
    source = ReplaySource(recording)
    source.tick(NOW_US)
    source.tick(NOW_US + 1)
    update = source.tick(NOW_US + 60_000)
    assert update is not None
    assert update.trailer == Trailer(3, NOW_US + 60_000, 40_000)  # the next one is at 0.1 s
    assert source.full_graph(NOW_US + 70_000).trailer == Trailer(3, NOW_US + 70_000, 0)


def test_the_full_graph_shows_the_present_positions(recording: Path, graph_message: FullGraph) -> None:
    source = ReplaySource(recording)
    before = source.full_graph(NOW_US)
    assert (before.nodes["x"] == 0).all()
    play(source, [0, 0.1])
    message = source.full_graph(NOW_US + 100_000)
    assert (message.nodes["x"] == 2).all()
    assert message.metadata == graph_message.metadata
    assert message.edges.tolist() == graph_message.edges.tolist()
    assert source.graph.labels == ("Sieben", "Drei", "Neun ü")
    assert source.graph_version == 0


def test_speed(recording: Path) -> None:
    assert play(ReplaySource(recording, speed=2), [0, 0.024, 0.025, 0.05]) == [0, None, 1, 2]
    assert play(ReplaySource(recording, speed=0.5), [0, 0.09, 0.1]) == [0, None, 1]


def test_start(recording: Path) -> None:
    source = ReplaySource(recording, start_s=0.1)
    assert (source.full_graph(NOW_US).nodes["x"] == 2).all()
    assert play(source, [0, 0.049, 0.05]) == [2, None, 3]
    assert len(source.graph.edges) == 2
    assert play(ReplaySource(recording, start_s=0.25), [0, 0.04]) == [5, None]


def test_loop_restarts_at_the_start(recording: Path) -> None:
    source = ReplaySource(recording, loop=True, start_s=0.1)
    # From 0.1 to 0.25 s, the last frame for another 50 ms, then again.
    assert play(source, [0, 0.15, 0.16, 0.199, 0.2, 0.25, 0.36, 0.41]) == [2, 5, None, None, 2, 3, 5, 2]
    assert not source.finished
    assert source.graph_version == 0  # the same graph again is no new one


def test_a_loop_over_a_single_frame_does_not_spin(record: Record, updates: list[PositionUpdate]) -> None:
    source = ReplaySource(record(updates[:1]), loop=True, speed=1000)
    assert play(source, [0, 0.01, 0.02, 0.03]) == [1, 1, 1, 1]


def test_bare_messages_without_times_play_at_20_hz(
    record: Record, graph_message: FullGraph, updates: list[PositionUpdate]
) -> None:
    source = ReplaySource(record([graph_message, *updates], "a.bin"))
    assert play(source, [0, 0.049, 0.05, 0.1, 0.2, 0.24]) == [1, None, 2, 3, 5, None]


def test_bare_messages_with_trailers_play_by_them(record: Record, updates: list[PositionUpdate]) -> None:
    timed = [replace(update, trailer=Trailer(1, number**2 * 1_000_000, 0)) for number, update in enumerate(updates)]
    assert play(ReplaySource(record(timed, "a.bin")), [0, 0.9, 1, 4, 8.9, 9]) == [1, None, 2, 3, None, 4]


def test_the_recorded_settled_flag_is_kept(record: Record, updates: list[PositionUpdate]) -> None:
    source = ReplaySource(record([updates[0], replace(updates[1], settled=True), updates[2]]))
    assert not source.settled
    source.tick(NOW_US)
    update = source.tick(NOW_US + 50_000)
    assert update is not None
    assert update.settled
    assert source.settled
    source.tick(NOW_US + 100_000)
    assert not source.settled


def test_compressed_updates_are_served_raw(record: Record, updates: list[PositionUpdate]) -> None:
    update = ReplaySource(record([replace(updates[0], compressed=True)])).tick(NOW_US)
    assert update is not None
    assert not update.compressed
    assert update.nodes.tolist() == updates[0].nodes.tolist()


def test_without_a_full_graph_there_are_nodes_and_no_edges(record: Record, updates: list[PositionUpdate]) -> None:
    source = ReplaySource(record([Heartbeat(1), *updates], times_s=[0, 1, 2, 3, 4, 5]))
    assert source.graph.ids.tolist() == [7, 3, 9]
    message = source.full_graph(NOW_US)
    assert len(message.edges) == 0
    assert message.metadata is None
    assert play(source, [0, 1, 2]) == [1, None, 2]  # what there is to show is shown from the first tick on


def test_a_subset_moves_only_what_it_has(record: Record, graph_message: FullGraph, make_nodes: Nodes) -> None:
    subset = PositionUpdate(make_nodes(4, [9, 7]))
    source = ReplaySource(record([graph_message, subset]))
    source.tick(NOW_US)
    update = source.tick(NOW_US + 50_000)
    assert update is not None
    assert update.nodes["id"].tolist() == [7, 3, 9]
    assert update.nodes["x"].tolist() == [4, 0, 4]


def test_nodes_that_no_graph_has_are_left_out_and_said(
    record: Record, graph_message: FullGraph, make_nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = PositionUpdate(make_nodes(4, [1, 8, 3, 2**32 - 1]))
    source = ReplaySource(record([graph_message, stranger, stranger]))
    assert caplog.text == ""
    play(source, [0, 0.05, 0.1])
    assert source.full_graph(NOW_US).nodes["id"].tolist() == [7, 3, 9]
    assert source.full_graph(NOW_US).nodes["x"].tolist() == [0, 4, 0]
    assert caplog.text.count("left out") == 1


def test_another_graph_later_raises_the_version(
    record: Record, graph_message: FullGraph, updates: list[PositionUpdate], make_nodes: Nodes
) -> None:
    edges = np.array([(3, 9, 1)], EDGE_DTYPE)
    other = FullGraph(make_nodes(8, [3, 9]), edges)
    messages = [graph_message, updates[0], graph_message, other, PositionUpdate(make_nodes(9, [3, 9])), graph_message]
    source = ReplaySource(record(messages), loop=True)
    assert play(source, [0, 0.05, 0.1]) == [0, 1, 0]
    assert source.graph_version == 0
    assert play(source, [0.15]) == [8]
    assert source.graph_version == 1
    assert source.graph.ids.tolist() == [3, 9]
    assert len(source.full_graph(NOW_US).edges) == 1
    assert play(source, [0.2, 0.25]) == [9, 0]
    assert source.graph_version == 2
    assert play(source, [0.31]) == [0]  # the loop begins anew with the graph that is there
    assert source.graph_version == 2


def test_speech_comes_when_it_is_due(record: Record, graph_message: FullGraph) -> None:
    samples = np.arange(3, dtype=np.int16)
    voices = [VoiceData(9, 16_000, samples, Trailer(number, 1, 0)) for number in range(3)]
    untimed = VoiceData(8, 16_000, samples)
    source = ReplaySource(record([graph_message, *voices, untimed]))
    source.tick(NOW_US)
    assert source.events(NOW_US) == []
    source.tick(NOW_US + 100_000)
    stamped = [replace(voice, trailer=Trailer(number, NOW_US + 100_000, 0)) for number, voice in enumerate(voices[:2])]
    assert source.events(NOW_US + 100_000) == stamped
    assert source.events(NOW_US + 100_000) == []
    source.tick(NOW_US + 300_000)
    assert source.events(NOW_US + 300_000)[1:] == [untimed]


def test_positions_that_an_event_call_finds_are_for_the_next_tick(recording: Path) -> None:
    source = ReplaySource(recording)
    source.tick(NOW_US)
    assert source.events(NOW_US + 50_000) == []
    assert play(source, [0.051]) == [1]


def test_speech_that_nobody_collects_is_bounded(record: Record, graph_message: FullGraph) -> None:
    voice = VoiceData(9, 16_000, np.zeros(1, np.int16))
    source = ReplaySource(record([graph_message, *[voice] * 2000]))
    source.tick(NOW_US)
    source.tick(NOW_US + 1_000_000_000)
    assert len(source.events(NOW_US + 1_000_000_000)) == 1024


def test_a_drag_is_declined_and_all_else_ignored(recording: Path) -> None:
    source = ReplaySource(recording)
    with pytest.raises(InputError, match="cannot be dragged"):
        source.apply(NodeDrag(7, 0, 0, 0))
    source.apply(NodeSelect(7))
    assert play(source, [0]) == [0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speed": 0}, "speed 0"),
        ({"speed": -1}, "speed -1"),
        ({"speed": float("nan")}, "speed nan"),
        ({"speed": float("inf")}, "speed inf"),
        ({"start_s": -1}, "from -1 s"),
        ({"start_s": float("nan")}, "from nan s"),
        ({"start_s": 0.26}, "ends after 0.25 s"),
    ],
)
def test_what_cannot_be_played(options: dict[str, Any], said: str, recording: Path) -> None:
    with pytest.raises(UsageError, match=said):
        ReplaySource(recording, **options)


def test_recordings_without_positions_are_refused(record: Record, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no FullGraph and no PositionUpdate"):
        ReplaySource(record([Heartbeat(1)]))
    (tmp_path / "cut.bin").write_bytes(b"\x04\x02\0\0\1")
    with pytest.raises(VfctlError, match="byte 0"):
        ReplaySource(tmp_path / "cut.bin")


def test_a_pipe_can_be_played_once(
    updates: list[PositionUpdate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loop in (False, True):
        reading, writing = os.pipe()
        os.write(writing, b"".join(encode(update) for update in updates))
        os.close(writing)
        with os.fdopen(reading, "rb") as stdin, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", type("Stdin", (), {"buffer": stdin}))
            if loop:
                with pytest.raises(UsageError, match="stdin can only be read once"):
                    ReplaySource("-", loop=True)
            else:
                assert play(ReplaySource("-"), [0, 0.05, 1]) == [1, 2, 5]


# --- damaged


def test_a_cut_off_recording_is_played_as_far_as_it_goes(recording: Path, caplog: pytest.LogCaptureFixture) -> None:
    recording.write_bytes(recording.read_bytes()[:-40])
    source = ReplaySource(recording, loop=True)
    assert play(source, [0, 0.25, 0.31, 0.6, 0.7]) == [0, 5, 0, 5, 0]
    assert caplog.text.count("what is intact is played") == 1


def test_messages_that_cannot_be_decoded_are_left_out(
    record: Record, graph_message: FullGraph, updates: list[PositionUpdate], caplog: pytest.LogCaptureFixture
) -> None:
    broken_graph = bytearray(encode(graph_message))
    broken_graph[-1] = 0xFF
    broken_update = bytearray(encode(replace(updates[1], compressed=True)))
    broken_update[16:] = b"\xff" * (len(broken_update) - 16)
    source = ReplaySource(record([bytes(broken_graph), updates[0], bytes(broken_update), updates[2]]))
    assert play(source, [0, 0.05, 0.1, 0.15]) == [1, None, None, 3]
    assert caplog.text.count("it is left out") == 2


def test_graphs_that_make_no_sense_are_left_out(
    record: Record, updates: list[PositionUpdate], make_nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    nonsense = FullGraph(make_nodes(0), np.array([(1, 2, 1)], EDGE_DTYPE))  # an edge between unknown nodes
    twins = PositionUpdate(make_nodes(0, [1, 1]))
    source = ReplaySource(record([nonsense, twins, updates[0]], times_s=[0, 0.05, 0.1]))
    assert source.graph.ids.tolist() == [7, 3, 9]
    assert play(source, [0, 0.04]) == [1, None]
    assert "unknown source" in caplog.text
    assert "occurs twice" in caplog.text


def test_warnings_are_bounded(record: Record, updates: list[PositionUpdate], caplog: pytest.LogCaptureFixture) -> None:
    broken = bytearray(encode(replace(updates[1], compressed=True)))
    broken[16:] = b"\xff" * (len(broken) - 16)
    source = ReplaySource(record([updates[0], *[bytes(broken)] * 40]))
    play(source, [number * 0.05 for number in range(41)])
    assert len(caplog.records) == 20
    assert "is not reported" in caplog.records[-1].message


@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_recordings_play_or_say_why_not(
    data: st.DataObject, record: Record, every_message: list[Message], tmp_path: Path
) -> None:
    content = bytearray(record(every_message, data.draw(st.sampled_from(["a.mcap", "a.bin"]))).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        source = ReplaySource(path, loop=True)
        for number in range(20):
            source.tick(NOW_US + number * 100_000)
            source.events(NOW_US + number * 100_000)
            assert len(encode(source.full_graph(NOW_US))) > 8
    except VfctlError as error:
        assert error.message  # noqa: PT017  # either is fine, nothing else is


def test_no_file_is_left_open(recording: Path, record: Record, every_message: list[Message]) -> None:
    def open_files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = open_files()
    source = ReplaySource(recording)
    play(source, [0, 0.05])
    del source
    for options in ({"start_s": 99}, {"speed": 0}):
        with pytest.raises(UsageError):
            ReplaySource(recording, **options)
    with pytest.raises(CaptureError):
        ReplaySource(record([Heartbeat(1)], "b.bin"))
    assert open_files() == before
