"""Repairing, cutting, merging, converting and checking recordings."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vfctl.capture import CapturedMessage, open_capture, open_writer
from vfctl.capture.message import Direction, Form
from vfctl.capture.recording.series import Rotation, SeriesWriter
from vfctl.capture.timeline import decoded, timeline
from vfctl.capture.tools.check import check, repair
from vfctl.capture.tools.convert import Encoding, convert
from vfctl.capture.tools.cut import cut
from vfctl.capture.tools.merge import merge
from vfctl.errors import InputError, ProtocolError, UsageError, VfctlError
from vfctl.protocol import (
    EDGE_DTYPE,
    FullGraph,
    Heartbeat,
    Message,
    NodeSelect,
    PositionUpdate,
    Trailer,
    decode,
    encode,
)

START_NS = 1_700_000_000_000_000_000


def payloads(path: Path) -> list[bytes]:
    return [captured.payload for captured in open_capture(path)]


def intact(path: Path) -> list[bytes]:
    """What can be read, whatever is wrong with the rest."""
    found = []
    try:
        for captured in open_capture(path):
            found.append(captured.payload)  # noqa: PERF401
    except VfctlError:
        pass
    return found


@pytest.fixture
def updates(make_nodes: Callable[..., Any]) -> Callable[..., list[Message]]:
    """updates(count): TIMED ones, 50 ms apart, x counts them."""

    def make(count: int, compressed: bool = False) -> list[Message]:
        return [
            PositionUpdate(
                make_nodes(number),
                trailer=Trailer(number, START_NS // 1000 + number * 50_000, 50_000),
                compressed=compressed,
            )
            for number in range(1, count + 1)
        ]

    return make


@pytest.fixture
def timed_graph(graph_message: FullGraph) -> FullGraph:
    trailer = Trailer(1, START_NS // 1000 + 50_000, 50_000)
    return FullGraph(graph_message.nodes, graph_message.edges, graph_message.metadata, trailer)


# --- repair


def test_repairing_what_is_whole_is_a_copy(
    record: Callable[..., Path], every_message: list[Message], tmp_path: Path
) -> None:
    path = record(every_message)
    report = repair(open_capture(path), tmp_path / "out.mcap")
    assert report.lost_nothing
    assert report.damage is None
    copied = list(open_capture(tmp_path / "out.mcap"))
    original = list(open_capture(path))
    assert [(one.payload, one.arrival_ns) for one in copied] == [(one.payload, one.arrival_ns) for one in original]
    capture = open_capture(tmp_path / "out.mcap")
    list(capture)
    assert capture.metadata["url"] == "ws://test/ws"


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_a_recording_cut_off_anywhere_gives_all_that_is_intact(
    name: str, record: Callable[..., Path], every_message: list[Message], tmp_path: Path
) -> None:
    content = record(every_message, name).read_bytes()
    path, out = tmp_path / "cut", tmp_path / "out.mcap"
    for length in range(1, len(content), 7):
        path.write_bytes(content[:length])
        try:
            readable = intact(path)
            report = repair(open_capture(path), out, overwrite=True)
        except VfctlError:
            continue
        assert payloads(out) == readable, length
        assert report.messages == len(readable)
        assert check(open_capture(out)).damage is None


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_a_recording_with_flipped_bits_gives_all_that_can_be_decoded(
    name: str, record: Callable[..., Path], every_message: list[Message], tmp_path: Path
) -> None:
    content = record(every_message, name).read_bytes()
    path, out = tmp_path / "flipped", tmp_path / "out.mcap"
    chance = random.Random(8)
    for _ in range(150):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            report = repair(open_capture(path), out, overwrite=True)
        except VfctlError:
            continue
        for payload in payloads(out):
            decode(payload)
        lost = len(every_message) - report.messages
        assert lost == 0 or not report.lost_nothing, "what is lost is said"


def test_losses_are_told_by_offset_and_size(tmp_path: Path) -> None:
    whole = [encode(Heartbeat(number)) for number in range(10)]
    content = b"".join([*whole[:4], b"\xff" * 30, *whole[4:]])
    (tmp_path / "a.bin").write_bytes(content + whole[0][:5])
    report = repair(open_capture(tmp_path / "a.bin"), tmp_path / "out.mcap")
    assert report.messages == 10
    assert [(loss.offset, loss.bytes) for loss in report.losses] == [(48, 30), (150, 5)]
    assert not report.lost_nothing


def test_a_message_that_cannot_be_decoded_is_left_out_and_told(tmp_path: Path) -> None:
    bad = b"\x04\x08\0\0\1\0\0\0{"
    (tmp_path / "a.bin").write_bytes(encode(NodeSelect(1)) + bad + encode(NodeSelect(2)))
    report = repair(open_capture(tmp_path / "a.bin"), tmp_path / "out.mcap")
    assert payloads(tmp_path / "out.mcap") == [encode(NodeSelect(1)), encode(NodeSelect(2))]
    assert [(loss.offset, loss.bytes) for loss in report.undecodable] == [(8, 9)]


def test_nothing_recovered_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(encode(Heartbeat(1))[:-1])
    with pytest.raises(InputError, match="nothing could be recovered"):
        repair(open_capture(tmp_path / "a.bin"), tmp_path / "out.mcap")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_an_existing_file_stays_unless_it_may_be_replaced(
    record: Callable[..., Path], every_message: list[Message], tmp_path: Path
) -> None:
    path, out = record(every_message), tmp_path / "out.mcap"
    out.write_bytes(b"mine")
    with open_capture(path) as capture, pytest.raises(InputError, match="already exists"):
        repair(capture, out)
    assert out.read_bytes() == b"mine"
    repair(open_capture(path), out, overwrite=True)
    assert payloads(out) == [encode(message) for message in every_message]


def test_an_interrupt_leaves_nothing_half_done(
    record: Callable[..., Path], every_message: list[Message], tmp_path: Path
) -> None:
    path, out = record(every_message), tmp_path / "out.mcap"
    out.write_bytes(b"mine")

    def interrupt(offset: int) -> None:
        raise KeyboardInterrupt

    for tool in (repair, convert, cut):
        with pytest.raises(KeyboardInterrupt):
            tool(open_capture(path), out, overwrite=True, on_offset=interrupt)  # type: ignore[operator]
    assert out.read_bytes() == b"mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [out.name, path.name]


# --- convert


def test_there_and_back_is_the_same(record: Callable[..., Path], every_message: list[Message], tmp_path: Path) -> None:
    path = record(every_message)
    convert(open_capture(path), tmp_path / "a.bin")
    report = convert(open_capture(tmp_path / "a.bin"), tmp_path / "b.mcap")
    assert payloads(tmp_path / "b.mcap") == payloads(path)
    assert not report.made_up_times, "its first trailer tells the time"
    first, *_ = open_capture(tmp_path / "b.mcap")
    assert first.arrival_ns == START_NS + 50_000_000


def test_times_that_are_made_up_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(encode(Heartbeat(1)))
    assert convert(open_capture(tmp_path / "a.bin"), tmp_path / "b.mcap").made_up_times


@pytest.mark.parametrize("encoding", Encoding)
def test_encodings_hold_the_same_positions(
    encoding: Encoding, record: Callable[..., Path], every_message: list[Message], tmp_path: Path
) -> None:
    path = record(every_message)
    convert(open_capture(path), tmp_path / "b.mcap", encoding=encoding)
    for old, new in zip(decoded(open_capture(path)), decoded(open_capture(tmp_path / "b.mcap")), strict=True):
        if isinstance(old.message, FullGraph | PositionUpdate):
            assert isinstance(new.message, FullGraph | PositionUpdate)
            assert new.message.compressed == (encoding is Encoding.LZ4)
            assert new.message.nodes.tobytes() == old.message.nodes.tobytes()
            assert new.message.trailer == old.message.trailer
        else:
            assert new.message == old.message


def test_compact_becomes_raw(
    compact_payloads: Callable[..., list[bytes]], make_nodes: Callable[..., Any], tmp_path: Path
) -> None:
    states = [make_nodes(np.array([-40, 0, 40]) + step) for step in range(5)]
    compact = compact_payloads(FullGraph(make_nodes(0), np.zeros(0, EDGE_DTYPE)), states)
    (tmp_path / "a.bin").write_bytes(b"".join(compact))
    convert(open_capture(tmp_path / "a.bin"), tmp_path / "b.bin", encoding=Encoding.RAW)
    _, *updates = map(decode, payloads(tmp_path / "b.bin"))
    for state, update in zip(states, updates, strict=True):
        assert isinstance(update, PositionUpdate)
        np.testing.assert_allclose(update.nodes["x"], state["x"], atol=0.02)


def test_what_clients_sent_and_connections_come_over(tmp_path: Path) -> None:
    messages = [
        CapturedMessage(encode(Heartbeat(connection)), None, 0, direction, connection)
        for connection in (0, 5)
        for direction in Direction
    ]
    with open_writer(tmp_path / "a.mcap", metadata={}) as writer:
        for number, one in enumerate(messages):
            writer.write(one.payload, START_NS + number, direction=one.direction, connection=one.connection)
    convert(open_capture(tmp_path / "a.mcap"), tmp_path / "b.mcap")
    copied = [(one.direction, one.connection, one.payload) for one in open_capture(tmp_path / "b.mcap")]
    assert copied == [(one.direction, one.connection, one.payload) for one in messages]
    report = convert(open_capture(tmp_path / "a.mcap"), tmp_path / "b.bin", connection=5)
    assert payloads(tmp_path / "b.bin") == [encode(Heartbeat(5))]
    assert report.left_out == 3


def test_deployed_frames_keep_their_form_in_mcap_and_are_refused_in_bin(tmp_path: Path) -> None:
    (tmp_path / "v2.bin").write_bytes(b"\x02" + bytes(36 * 3))
    convert(open_capture(tmp_path / "v2.bin"), tmp_path / "b.mcap")
    (copied,) = open_capture(tmp_path / "b.mcap")
    assert (copied.form, copied.payload) == (Form.V2, b"\x02" + bytes(36 * 3))
    with pytest.raises(InputError, match="do not tell where they end"):
        convert(open_capture(tmp_path / "v2.bin"), tmp_path / "c.bin")


# --- cut


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_a_cut_begins_with_the_graph_and_the_newest_positions(
    name: str,
    record: Callable[..., Path],
    updates: Callable[..., list[Message]],
    timed_graph: FullGraph,
    tmp_path: Path,
) -> None:
    path, out = record([timed_graph, *updates(100)], name), tmp_path / f"out{Path(name).suffix}"
    cut(open_capture(path), out, 2.0, 3.0)
    graph, newest, *rest = timeline(open_capture(out))
    message = decode(graph.captured.payload)
    assert isinstance(message, FullGraph)
    assert (message.metadata, message.edges.tolist()) == (timed_graph.metadata, timed_graph.edges.tolist())
    inside = [t.captured.payload for t in timeline(open_capture(path)) if 2.0 <= t.time_s < 3.0]
    assert [timed.captured.payload for timed in rest] == inside
    assert len(inside) == 20
    before = [t.captured.payload for t in timeline(open_capture(path)) if t.time_s < 2.0]
    assert newest.captured.payload == before[-1]
    assert (graph.time_s, newest.time_s) == (0, 0)
    assert rest[0].time_s == pytest.approx(0 if name == "a.mcap" else 0.05)
    assert rest[-1].time_s <= 1.0
    assert not check(open_capture(out)).missing_rounds


def test_a_cut_from_the_start_adds_nothing(
    record: Callable[..., Path], updates: Callable[..., list[Message]], timed_graph: FullGraph, tmp_path: Path
) -> None:
    path = record([timed_graph, *updates(10)])
    cut(open_capture(path), tmp_path / "out.mcap")
    assert payloads(tmp_path / "out.mcap") == payloads(path)


def test_a_cut_within_a_compact_chain_decodes_by_itself(
    compact_payloads: Callable[..., list[bytes]],
    make_nodes: Callable[..., Any],
    record: Callable[..., Path],
    tmp_path: Path,
) -> None:
    states = [make_nodes(np.array([-40, 0, 40]) + step / 7) for step in range(40)]
    path = record(compact_payloads(FullGraph(make_nodes(0), np.zeros(0, EDGE_DTYPE)), states))
    cut(open_capture(path), tmp_path / "out.mcap", 1.0, 1.5)
    items = list(decoded(open_capture(tmp_path / "out.mcap")))
    original = {item.time_s: item for item in decoded(open_capture(path))}
    assert isinstance(items[0].message, FullGraph)
    assert len(items) == 2 + 10
    for item in items[2:]:
        same = original[round(item.time_s + 1.0, 9)]
        np.testing.assert_array_equal(item.message.nodes["x"], same.message.nodes["x"])  # type: ignore[union-attr]


def test_each_connection_gets_its_own_opening(
    updates: Callable[..., list[Message]], timed_graph: FullGraph, tmp_path: Path
) -> None:
    with open_writer(tmp_path / "a.mcap", metadata={}) as writer:
        for number, message in enumerate([timed_graph, *updates(40)]):
            for connection in (0, 1):
                writer.write(encode(message), START_NS + number * 50_000_000, connection=connection)
    cut(open_capture(tmp_path / "a.mcap"), tmp_path / "out.mcap", 1.0)
    first = list(open_capture(tmp_path / "out.mcap"))[:4]
    assert [one.connection for one in first] == [0, 0, 1, 1]
    assert [one.payload[1] for one in first] == [1, 2, 1, 2]


def test_a_cut_of_nothing_writes_nothing(
    record: Callable[..., Path], updates: Callable[..., list[Message]], tmp_path: Path
) -> None:
    path = record(updates(5))
    with pytest.raises(InputError, match="no message was left"):
        cut(open_capture(path), tmp_path / "out.mcap", 60.0)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


# --- merge


def test_recordings_are_merged_by_arrival(record: Callable[..., Path], tmp_path: Path) -> None:
    a = record([Heartbeat(number) for number in (0, 2, 4)], "a.mcap", [0, 0.2, 0.4])
    b = record([Heartbeat(number) for number in (1, 3, 5)], "b.mcap", [0.1, 0.3, 0.5])
    report = merge([str(b), str(a)], tmp_path / "out.mcap")
    assert report.messages == 6
    merged = list(open_capture(tmp_path / "out.mcap"))
    assert [one.payload for one in merged] == [encode(Heartbeat(number)) for number in range(6)]
    assert [one.connection for one in merged] == [0, 1] * 3
    assert [one.arrival_ns for one in merged] == [START_NS + number * 100_000_000 for number in range(6)]


def test_a_rotated_series_becomes_what_was_recorded(
    updates: Callable[..., list[Message]], timed_graph: FullGraph, tmp_path: Path
) -> None:
    messages = [timed_graph, *updates(200)]
    writer = SeriesWriter(tmp_path / "s.mcap", metadata={"url": "ws://test/ws"}, rotation=Rotation(max_s=2.0))
    with writer:
        for number, message in enumerate(messages):
            writer.write(encode(message), START_NS + number * 50_000_000)
    assert len(writer.files) >= 4
    report = merge([str(path) for path in reversed(writer.files)], tmp_path / "out.mcap")
    assert payloads(tmp_path / "out.mcap") == [encode(message) for message in messages]
    assert report.damage is None


def test_what_has_no_times_cannot_be_merged(record: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "untimed.bin").write_bytes(encode(Heartbeat(1)))
    with pytest.raises(InputError, match="has no arrival times"):
        merge([str(record([Heartbeat(1)])), str(tmp_path / "untimed.bin")], tmp_path / "out.mcap")
    with pytest.raises(UsageError, match="two recordings"):
        merge([str(tmp_path / "untimed.bin")], tmp_path / "out.mcap")
    assert not (tmp_path / "out.mcap").exists()


def test_damage_in_one_costs_only_what_it_hit(record: Callable[..., Path], tmp_path: Path) -> None:
    a = record([Heartbeat(number) for number in range(3)], "a.mcap")
    b = record([Heartbeat(number) for number in range(3, 6)], "b.mcap")
    a.write_bytes(a.read_bytes()[:-30])
    report = merge([str(a), str(b)], tmp_path / "out.mcap")
    assert report.messages == 6
    assert report.damage is not None


# --- check


def test_missing_rounds_are_counted_by_connection(
    updates: Callable[..., list[Message]], timed_graph: FullGraph, tmp_path: Path
) -> None:
    frames = [timed_graph, *updates(20)]
    with open_writer(tmp_path / "a.mcap", metadata={}) as writer:
        for number, message in enumerate(frames):
            writer.write(encode(message), START_NS + number)
            if number not in (5, 6, 11):
                writer.write(encode(message), START_NS + number, connection=2)
    report = check(open_capture(tmp_path / "a.mcap"))
    assert report.missing_rounds == {2: 3}
    assert report.damage is None
    assert report.messages == 2 * 21 - 3


def test_a_check_decodes_what_is_framed_well(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(encode(NodeSelect(1)) + b"\x04\x08\0\0\1\0\0\0{" + encode(NodeSelect(2)))
    report = check(open_capture(tmp_path / "a.bin"))
    assert (report.messages, len(report.losses), len(report.undecodable)) == (2, 0, 1)
    assert isinstance(report.damage, ProtocolError)
    assert "message 1 (at byte 8 of the recording)" in report.damage.message


def test_times_that_run_backwards_and_graphs_that_are_missing(
    record: Callable[..., Path], updates: Callable[..., list[Message]]
) -> None:
    report = check(open_capture(record(updates(3), times_s=[0, 2, 1])))
    assert (report.backwards, report.graphless) == (1, [0])
