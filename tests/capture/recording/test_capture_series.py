"""Recordings in several files: each of them can be read alone, and nothing is lost between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vfctl.capture import open_capture, open_writer
from vfctl.capture.formats.mcap import METADATA_NAME
from vfctl.capture.message import Direction
from vfctl.capture.recording.file_header import HeaderState
from vfctl.capture.recording.series import Rotation, SeriesWriter, numbered, numbers_taken, parse_rotation
from vfctl.errors import InputError, UsageError
from vfctl.protocol import (
    CompactUpdate,
    FullGraph,
    Heartbeat,
    NodeDrag,
    PositionUpdate,
    Reserved,
    Trailer,
    decode,
    encode,
)
from vfctl.protocol.compact_encoder import CompactEncoder, View
from vfctl.protocol.grid import positions_of
from vfctl.protocol.position_decoder import PositionDecoder

START_NS = 1_700_000_000_000_000_000
Nodes = Callable[..., Any]


def payloads(path: Path) -> list[bytes]:
    with open_capture(path) as capture:
        return [captured.payload for captured in capture]


@pytest.mark.parametrize(
    ("text", "rotation"),
    [
        ("100MB", Rotation(100_000_000)),
        ("2GiB", Rotation(2 * 2**30)),
        ("1.5 mb", Rotation(1_500_000)),
        ("10min", Rotation(None, 600)),
        ("90s", Rotation(None, 90)),
        ("1h,100kB", Rotation(100_000, 3600)),
    ],
)
def test_when_to_rotate(text: str, rotation: Rotation) -> None:
    assert parse_rotation(text) == rotation


@pytest.mark.parametrize("text", ["", "100", "MB", "-1MB", "10 parsecs", "1kB", "0.5s", "nanMB", "1e9MB", "1MB;2MB"])
def test_rotations_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="--rotate"):
        parse_rotation(text)


def test_names_of_a_series(tmp_path: Path) -> None:
    path = tmp_path / "a.b.mcap"
    assert numbered(path, 7) == tmp_path / "a.b-0007.mcap"
    for name in ("a.b-0003.mcap", "a.b-12345.mcap", "a.b-1.mcap", "a.b-0004.bin", "xa.b-0009.mcap"):
        (tmp_path / name).touch()
    assert numbers_taken(path) == [3, 12345]
    assert numbers_taken(tmp_path / "missing" / "a.mcap") == []


@pytest.mark.parametrize("suffix", [".mcap", ".bin"])
def test_each_file_begins_with_graph_and_positions(
    suffix: str, tmp_path: Path, graph_message: FullGraph, make_nodes: Nodes
) -> None:
    sent = [encode(graph_message), *(encode(PositionUpdate(make_nodes(x))) for x in range(1, 30))]
    with SeriesWriter(tmp_path / f"a{suffix}", metadata={"url": "ws://x"}, rotation=Rotation(None, 1.0)) as writer:
        for number, payload in enumerate(sent):
            writer.write(payload, START_NS + number * 100_000_000)
    files = [tmp_path / f"a-000{number}{suffix}" for number in (1, 2, 3)]
    assert writer.files == files
    found = [payloads(file) for file in files]
    assert found[0] == sent[:10]
    assert found[1] == [sent[0], sent[9], *sent[10:20]]  # as they came, then what is new
    assert found[2] == [sent[0], sent[19], *sent[20:]]


def test_files_are_full_by_size(tmp_path: Path, graph_message: FullGraph) -> None:
    random = np.random.default_rng(1)
    with SeriesWriter(tmp_path / "a.mcap", metadata={}, rotation=Rotation(150_000)) as writer:
        writer.write(encode(graph_message), START_NS)
        for number in range(20):
            writer.write(encode(Reserved(9, random.bytes(40_000))), START_NS + number)
        assert 800_000 < writer.size < 900_000
    sizes = [file.stat().st_size for file in writer.files]
    assert len(sizes) == 7
    assert max(sizes) < 150_000  # index and summary are what goes beyond the messages


def test_a_message_larger_than_a_file_has_one_of_its_own(tmp_path: Path, graph_message: FullGraph) -> None:
    with SeriesWriter(tmp_path / "a.bin", metadata={}, rotation=Rotation(100_000)) as writer:
        for _ in range(3):
            writer.write(encode(Reserved(9, bytes(200_000))), START_NS)
    assert len(writer.files) == 3


def test_a_new_graph_is_not_preceded_by_the_old_one(tmp_path: Path, graph_message: FullGraph) -> None:
    other = encode(replace(graph_message, metadata=None))
    with SeriesWriter(tmp_path / "a.mcap", metadata={}, rotation=Rotation(None, 1.0)) as writer:
        writer.write(encode(graph_message), START_NS)
        writer.write(other, START_NS + 2_000_000_000)
    assert payloads(writer.files[1]) == [other]


def test_a_series_goes_on_behind_an_earlier_one(tmp_path: Path, graph_message: FullGraph) -> None:
    for _ in range(2):
        with SeriesWriter(tmp_path / "a.mcap", metadata={}, rotation=Rotation(None, 60)) as writer:
            writer.write(encode(graph_message), START_NS)
    assert writer.files == [tmp_path / "a-0002.mcap"]
    with SeriesWriter(tmp_path / "a.mcap", metadata={}, rotation=Rotation(None, 60), overwrite=True) as writer:
        assert len(list(tmp_path.iterdir())) == 2  # nothing is removed before there is something new
        writer.write(encode(graph_message), START_NS)
    assert [path.name for path in tmp_path.iterdir()] == ["a-0001.mcap"]


def test_without_a_rotation_the_name_is_kept_until_the_index_is_full(tmp_path: Path, graph_message: FullGraph) -> None:
    with SeriesWriter(tmp_path / "a.mcap", metadata={}, max_chunks=3) as writer:
        writer.write(encode(graph_message), START_NS)
        for second in range(1, 9):
            writer.write(encode(Heartbeat(second)), START_NS + second * 1_000_000_000)
    assert [path.name for path in writer.files[:2]] == ["a.mcap", "a-0002.mcap"]
    assert payloads(writer.files[1])[0] == encode(graph_message)
    with pytest.raises(InputError, match="already exists"):
        SeriesWriter(tmp_path / "a.mcap", metadata={})


def test_nothing_is_created_before_the_first_message(tmp_path: Path) -> None:
    SeriesWriter(tmp_path / "a.mcap", metadata={}).close()
    assert list(tmp_path.iterdir()) == []


def test_what_each_file_says_of_its_graph(tmp_path: Path, graph_message: FullGraph, make_nodes: Nodes) -> None:
    moved = replace(graph_message, nodes=make_nodes(5), compressed=True)
    renamed = replace(graph_message, metadata=replace(graph_message.metadata, label=("a", "b", "c")))  # type: ignore[type-var]
    facts = []
    for number, graph in enumerate((graph_message, moved, renamed)):
        with SeriesWriter(tmp_path / f"{number}.mcap", metadata={"url": "ws://x", "encoding": "raw"}) as writer:
            writer.write(encode(graph), START_NS)
        capture = open_capture(writer.files[0])
        list(capture)
        facts.append(capture.metadata)
    assert (facts[0]["graph_nodes"], facts[0]["graph_edges"], facts[0]["encoding"]) == ("3", "2", "raw")
    assert facts[0]["graph_sha256"] == facts[1]["graph_sha256"]  # positions and encoding are not the graph
    assert facts[0]["graph_sha256"] != facts[2]["graph_sha256"]


# --- COMPACT


def compact_stream(graph: FullGraph, count: int) -> list[bytes]:
    """A FullGraph and a COMPACT chain behind it, each frame but the first predicted from the two before."""
    draw = np.random.default_rng(1)
    nodes = graph.nodes.copy()
    nodes["x"], nodes["y"], nodes["z"] = draw.normal(scale=100, size=(3, len(nodes)))
    encoder, view, history = CompactEncoder(chain=7), View(nodes["id"].copy()), None
    stream = [encode(graph)]
    for number in range(count):
        nodes["x"] += 3 + np.sin(number)
        encoder.push(number, positions_of(nodes))
        section, history = encoder.section(view, history)
        trailer = Trailer(number, START_NS // 1000 + number, 50_000)
        stream.append(encode(CompactUpdate(len(nodes), section, trailer=trailer)))
    return stream


def positions(stream: list[bytes]) -> list[bytes]:
    decoder = PositionDecoder()
    found = [decoder.decode(decode(payload)) for payload in stream]
    return [message.nodes.tobytes() for message in found if isinstance(message, PositionUpdate)]


def test_a_file_that_begins_within_a_compact_chain_decodes_alone(tmp_path: Path, graph_message: FullGraph) -> None:
    sent = compact_stream(graph_message, 30)
    assert max(map(len, sent[5:])) < len(sent[1])  # it is a chain, not a row of key frames
    with SeriesWriter(tmp_path / "a.mcap", metadata={}, rotation=Rotation(None, 1.0)) as writer:
        for number, payload in enumerate(sent):
            writer.write(payload, START_NS + number * 100_000_000)
    whole = positions(sent)
    assert len(writer.files) == 4
    for number, file in enumerate(writer.files[1:], 1):
        found = payloads(file)
        assert found[2:] == sent[10 * number : 10 * number + 10]
        # The state that it begins with, and all that is predicted from it, to the bit.
        assert positions(found) == whole[10 * number - 2 : 10 * number + 9]


def test_no_file_begins_where_a_chain_cannot_be_followed(tmp_path: Path, graph_message: FullGraph) -> None:
    graph, *chain = compact_stream(graph_message, 20)
    with SeriesWriter(tmp_path / "a.mcap", metadata={}, rotation=Rotation(None, 1.0)) as writer:
        writer.write(graph, START_NS)
        for number, payload in enumerate(chain[3:]):  # the key frame is missing
            writer.write(payload, START_NS + number * 200_000_000)
        assert len(writer.files) == 1
        writer.write(graph, START_NS + 10**10)
    assert len(writer.files) == 2


def test_the_opening_state_follows_raw_updates(graph_message: FullGraph, make_nodes: Nodes) -> None:
    opening = HeaderState()
    assert opening.payloads() == []
    opening.take(encode(Heartbeat(1)))
    graph, *chain = compact_stream(graph_message, 3)
    raw = encode(PositionUpdate(make_nodes(3)))
    for payload in (graph, *chain, raw):
        opening.take(payload)
    assert opening.payloads() == [graph, raw]
    opening.take(graph)
    assert opening.payloads() == [graph]


# --- who sent what


def test_what_clients_sent_has_its_connection(tmp_path: Path, graph_message: FullGraph) -> None:
    drag = encode(NodeDrag(7, 1, 2, 3))
    with open_writer(tmp_path / "a.mcap", metadata={}) as writer:
        writer.write(encode(graph_message), START_NS)
        writer.write(drag, START_NS + 1, direction=Direction.CLIENT, connection=2**24 + 5)
        writer.write(encode(Heartbeat(1)), START_NS + 2, direction=Direction.CLIENT)
    found = list(open_capture(tmp_path / "a.mcap"))
    assert [(each.direction, each.connection) for each in found] == [
        (Direction.SERVER, 0),
        (Direction.CLIENT, 2**24 + 5),
        (Direction.CLIENT, 0),
    ]
    assert found[1].payload == drag
    with open_writer(tmp_path / "a.bin", metadata={}) as writer:
        writer.write(encode(graph_message), START_NS)
        writer.write(drag, START_NS + 1, direction=Direction.CLIENT)
    assert payloads(tmp_path / "a.bin") == [encode(graph_message)]  # it has no room for who said something


def test_waiting_messages_are_handed_over_by_age(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.mcap", metadata={}) as writer:
        writer.write(encode(Heartbeat(1)), START_NS)
        size = (tmp_path / "a.mcap").stat().st_size
        writer.flush(older_than_s=60)
        assert (tmp_path / "a.mcap").stat().st_size == size
        time.sleep(0.02)
        writer.flush(older_than_s=0.01)
        handed_over = (tmp_path / "a.mcap").stat().st_size
        assert handed_over > size
        writer.flush(older_than_s=0)
        assert (tmp_path / "a.mcap").stat().st_size == handed_over  # no chunk without a message


def test_notes_stand_between_messages(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.mcap", metadata={"url": "ws://x"}) as writer:
        writer.write(encode(Heartbeat(1)), START_NS)
        writer.note(METADATA_NAME, {"server": "vfctl 9"})
        writer.note("vfctl.reconnect", {"reason": "gone"})
        writer.write(encode(Heartbeat(2)), START_NS)
    capture = open_capture(tmp_path / "a.mcap")
    assert len(list(capture)) == 2
    assert capture.metadata["server"] == "vfctl 9"
    assert capture.metadata["url"] == "ws://x"
    content = (tmp_path / "a.mcap").read_bytes()
    assert content.count(b"vfctl.reconnect") == 2  # the record and its index
