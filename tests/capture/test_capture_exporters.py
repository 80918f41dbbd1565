"""Exports against the text they must be, and NPZ through numpy."""

from __future__ import annotations

import csv
import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vfctl.capture import CapturedMessage, open_capture
from vfctl.capture.exporters import FORMATS, export, summary_rows
from vfctl.capture.exporters.as_json import float32_texts, to_json
from vfctl.errors import CaptureError, InputError, ProtocolError, UsageError
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactUpdate,
    Heartbeat,
    Message,
    NodeDrag,
    Notice,
    PositionUpdate,
    Trailer,
    encode,
)


def nodes_json(x: str) -> str:
    """The nodes that conftest makes."""
    return ",".join(f'{{"id":{node_id},"x":{x},"y":0.5,"z":0.1,"vx":1.0,"vy":0.0,"vz":0.0}}' for node_id in (7, 3, 9))


GOLDEN = [
    '{"type":"FullGraph","flags":["METADATA"],"count":3,"nodes":[' + nodes_json("0.0") + '],"edges":['
    '{"source":7,"target":3,"weight":0.3},{"source":3,"target":9,"weight":1.0}],"metadata":'
    '{"label":["Sieben","Drei","Neun ü"],"kind":["class","class","individual"],"depth":[0,1,1],"cluster":[0,0,1]}}',
    '{"type":"PositionUpdate","flags":["TIMED"],"sequence":1,"timestamp_us":1700000000050000,"interval_us":50000,'
    '"count":3,"nodes":[' + nodes_json("1.0") + "]}",
    '{"type":"PositionUpdate","flags":["COMPRESSED","TIMED","SETTLED"],"sequence":2,"timestamp_us":1700000000100000,'
    '"interval_us":50000,"count":3,"nodes":[' + nodes_json("2.0") + "]}",
    '{"type":"NodeSelect","flags":[],"node_id":7}',
    '{"type":"NodeSelect","flags":[],"node_id":null}',
    '{"type":"NodeDrag","flags":["FINAL"],"node_id":3,"x":0.1,"y":-2.5,"z":1e-09}',
    '{"type":"Heartbeat","flags":[],"timestamp_us":123}',
    '{"type":"Heartbeat","flags":["FINAL"],"timestamp_us":123,"responder_timestamp_us":456}',
    '{"type":"FilterUpdate","flags":[],"filter":{"kind":["class"],"depth":[0,3],"search":"ü"}}',
    '{"type":"VoiceData","flags":["TIMED"],"sequence":1,"timestamp_us":1700000000150000,"interval_us":0,'
    '"stream":5,"sample_rate_hz":16000,"samples":4}',
    '{"type":"Notice","flags":[],"notice":{"notice":"selection","node_id":7}}',
    '{"type":"Reserved","flags":[],"type_id":10,"bytes":6}',
]


def exported(messages: Any, format: str, limit: int | None = None) -> bytes:
    out = io.BytesIO()
    export(messages, format, out, limit)
    return out.getvalue()


def captured(*messages: Message) -> list[CapturedMessage]:
    return [CapturedMessage(encode(message), None, 0) for message in messages]


def test_ndjson_is_one_object_a_message(record: Callable[..., Path], every_message: list[Message]) -> None:
    lines = exported(open_capture(record(every_message)), "ndjson").decode()
    assert lines.endswith("\n")
    assert lines.splitlines() == GOLDEN


def test_json_is_one_array_of_the_same(record: Callable[..., Path], every_message: list[Message]) -> None:
    document = json.loads(exported(open_capture(record(every_message)), "json"))
    assert document == [json.loads(line) for line in GOLDEN]
    assert json.loads(exported([], "json")) == []


def test_compact_updates_tell_their_size_only() -> None:
    text = exported(captured(CompactUpdate(5, b"opaque", True, Trailer(1, 2, 3))), "ndjson").decode()
    assert text == (
        '{"type":"PositionUpdate","flags":["COMPACT","TIMED","SETTLED"],"sequence":1,"timestamp_us":2,'
        '"interval_us":3,"count":5,"bytes":6}\n'
    )


def test_what_is_not_finite_becomes_null(make_nodes: Callable[..., Any]) -> None:
    nodes = make_nodes(0, [1])
    nodes["x"], nodes["y"], nodes["vz"] = np.nan, np.inf, -np.inf
    (update, drag, notice) = exported(
        captured(PositionUpdate(nodes), NodeDrag(1, float("nan"), 0, float("inf")), Notice({"notice": "x"})), "ndjson"
    ).splitlines()
    assert b'{"id":1,"x":null,"y":null,"z":0.1,"vx":1.0,"vy":0.0,"vz":null}' in update
    assert b'"x":null,"y":0.0,"z":null' in drag
    assert json.loads(notice)
    huge = b'{"notice":"error","factor":1e999,"text":"NaN Infinity"}'
    payload = b"\x04\x08\0\0" + len(huge).to_bytes(4, "little") + huge
    text = exported([CapturedMessage(payload, None, 0)], "ndjson")
    assert b'{"notice":"error","factor":null,"text":"NaN Infinity"}' in text


def test_floats_are_the_shortest_that_round_trip_as_float32() -> None:
    values = np.random.default_rng(3).integers(0, 2**32, 2000, np.uint32).view(np.float32)
    values = values[np.isfinite(values)]
    texts = float32_texts(values)
    assert np.array(texts, np.float64).astype(np.float32).tolist() == values.tolist()
    assert all(json.loads(text) is not None for text in texts)
    assert float32_texts(np.array([0.1, 1 / 3, 1e-5, 16777216], np.float32)) == [
        "0.1",
        "0.33333334",
        "1e-05",
        "1.6777216e+07",
    ]


@pytest.mark.parametrize("depth", [100, 400, 700, 850, 900, 930, 950, 970])
def test_deep_notices_are_no_way_to_crash(depth: int) -> None:
    body = b'{"notice":"x","deep":' + b"[" * depth + b"]" * depth + b"}"
    payload = b"\x04\x08\0\0" + len(body).to_bytes(4, "little") + body
    out = io.BytesIO()
    try:
        export([CapturedMessage(payload, None, 0)], "json", out)
    except ProtocolError as error:
        assert "cannot be read" in error.message  # noqa: PT017  # where the limit is depends on the caller's depth
    assert isinstance(json.loads(out.getvalue()), list)


def test_csv_is_one_row_a_node(record: Callable[..., Path], every_message: list[Message]) -> None:
    rows = exported(open_capture(record(every_message)), "csv").decode().splitlines()
    assert rows[0] == "message,time_s,type,sequence,timestamp_us,id,x,y,z,vx,vy,vz"
    assert rows[1] == "0,0.000000,FullGraph,,,7,0.0,0.5,0.1,1.0,0.0,0.0"
    assert rows[4] == "1,0.050000,PositionUpdate,1,1700000000050000,7,1.0,0.5,0.1,1.0,0.0,0.0"
    assert rows[9] == "2,0.100000,PositionUpdate,2,1700000000100000,9,2.0,0.5,0.1,1.0,0.0,0.0"
    assert len(rows) == 1 + 3 * 3
    assert {len(row) for row in csv.reader(rows)} == {12}


def test_npz_holds_the_updates_as_columns(
    record: Callable[..., Path], graph_message: Message, make_nodes: Callable[..., Any], tmp_path: Path
) -> None:
    updates = [
        PositionUpdate(make_nodes(1), trailer=Trailer(4, 1_000, 0)),
        PositionUpdate(make_nodes(2, [7])),
        PositionUpdate(make_nodes(3, []), trailer=Trailer(2**64 - 1, 3_000, 0), compressed=True),
    ]
    path = tmp_path / "out.npz"
    with path.open("wb") as out:
        export(open_capture(record([graph_message, *updates, Heartbeat(1)])), "npz", out)
    with np.load(path, allow_pickle=False) as columns:
        assert set(columns) == {"time_s", "sequence", "timestamp_us", "offsets", "nodes", "edges"}
        np.testing.assert_allclose(columns["time_s"], [0.05, 0.1, 0.15])
        assert columns["sequence"].tolist() == [4, -1, -1]
        assert columns["timestamp_us"].tolist() == [1000, -1, 3000]
        assert columns["offsets"].tolist() == [0, 3, 4, 4]
        assert columns["offsets"].dtype == np.int64
        assert columns["nodes"].dtype == NODE_DTYPE
        assert columns["nodes"].tolist() == np.concatenate([update.nodes for update in updates]).tolist()
        assert columns["edges"].tolist() == graph_message.edges.tolist()


def test_npz_of_nothing_is_empty_columns() -> None:
    with np.load(io.BytesIO(exported([], "npz"))) as columns:
        assert columns["offsets"].tolist() == [0]
        assert columns["nodes"].dtype == NODE_DTYPE
        assert columns["edges"].dtype == EDGE_DTYPE
        assert len(columns["nodes"]) == len(columns["edges"]) == len(columns["time_s"]) == 0


def test_npz_goes_through_a_pipe_and_is_the_same_each_time(
    record: Callable[..., Path], every_message: list[Message]
) -> None:
    class Unseekable(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.content += bytes(data)
            return len(data)

    capture = open_capture(record(every_message))
    out = Unseekable()
    export(capture, "npz", out)  # type: ignore[arg-type]
    with np.load(io.BytesIO(out.content)) as columns:
        assert len(columns["nodes"]) == 6
    assert exported(capture, "npz") == exported(capture, "npz")


@pytest.mark.parametrize("format", FORMATS)
def test_limit_reads_no_further(format: str, every_message: list[Message]) -> None:
    def endless() -> Iterator[CapturedMessage]:
        yield from captured(*every_message[:2])
        raise AssertionError("read on")

    out = io.BytesIO()
    export(endless(), format, out, limit=2)
    assert out.getvalue()


@pytest.mark.parametrize("damage", ["cut off", "undecodable"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_broken_recording_is_exported_as_far_as_it_can_be_read(
    format: str, damage: str, every_message: list[Message], tmp_path: Path
) -> None:
    path = tmp_path / "broken.bin"
    payloads = [encode(message) for message in every_message[:3]]
    if damage == "cut off":
        path.write_bytes(b"".join(payloads) + b"\x04\x05\0\0")
    else:
        path.write_bytes(b"".join((*payloads, b"\x04\x08\0\0\1\0\0\0{")))
    out = io.BytesIO()
    with pytest.raises(ProtocolError):
        export(open_capture(path), format, out)
    match format:
        case "json":
            assert len(json.loads(out.getvalue())) == 3
        case "ndjson":
            assert len([json.loads(line) for line in out.getvalue().splitlines()]) == 3
        case "csv":
            assert len(out.getvalue().splitlines()) == 10
        case "npz":
            with np.load(io.BytesIO(out.getvalue())) as columns:
                assert len(columns["time_s"]) == 2


def test_compact_updates_are_not_left_out_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    for format in ("csv", "npz"):
        caplog.clear()
        exported(captured(CompactUpdate(5, b"opaque"), CompactUpdate(5, b"opaque")), format)
        assert "2 COMPACT updates are left out" in caplog.text


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'xml'") as caught:
        exported([], "xml")
    assert all(format in (caught.value.hint or "") for format in FORMATS)


def test_output_that_cannot_be_written(every_message: list[Message]) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(InputError, match="No space left"):
        export(captured(*every_message), "ndjson", full)  # type: ignore[arg-type]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as broken, pytest.raises(BrokenPipeError):
        export(captured(*every_message), "json", broken)  # type: ignore[arg-type]


def test_summary_rows(record: Callable[..., Path], every_message: list[Message]) -> None:
    rows = list(summary_rows(open_capture(record(every_message))))
    assert [row.number for row in rows] == list(range(12))
    update = rows[2]
    assert (update.type, update.flags) == ("PositionUpdate", ("COMPRESSED", "TIMED", "SETTLED"))
    assert (update.count, update.sequence, update.detail) == (3, 2, "settled")
    assert update.time_s == pytest.approx(0.1)
    assert update.bytes == len(encode(every_message[2]))
    assert [row.detail for row in rows] == [
        "2 edges",
        "",
        "settled",
        "node 7",
        "cleared",
        "node 3 at 0.1 -2.5 1e-09, released",
        "request",
        "reply",
        '{"kind":["class"],"depth":[0,3],"search":"ü"}',
        "stream 5, 16000 Hz",
        '{"notice":"selection","node_id":7}',
        "type 0x0a",
    ]
    assert [row.count for row in rows[:4]] == [3, 3, 3, None]
    assert len(list(summary_rows(open_capture(record(every_message)), limit=2))) == 2


def test_a_peer_cannot_steer_the_terminal_by_a_summary() -> None:
    (row,) = summary_rows(captured(Notice({"notice": "\x9b31m\u202e" + "long" * 100})))
    assert row.detail.isprintable()
    assert len(row.detail) == 81


def test_export_memory_stays_flat(record: Callable[..., Path], make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    path = record([PositionUpdate(make_nodes(0, range(2_000)))] * 300)  # 17 MB
    with (tmp_path / "out").open("wb") as out:
        tracemalloc.start()
        try:
            export(open_capture(path), "npz", out)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 10 * 2**20


def test_capture_errors_come_through_too(record: Callable[..., Path], every_message: list[Message]) -> None:
    path = record(every_message)
    path.write_bytes(path.read_bytes()[:-1])
    out = io.BytesIO()
    with pytest.raises(CaptureError):
        export(open_capture(path), "json", out)
    assert len(json.loads(out.getvalue())) == 12


def test_to_json_always_starts_with_type_and_flags(every_message: list[Message]) -> None:
    for message in every_message:
        assert list(json.loads(to_json(message)))[:2] == ["type", "flags"]
