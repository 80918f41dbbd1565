"""Exports against the text they must be, and NPZ through numpy."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vfctl.capture import CapturedMessage, open_capture
from vfctl.capture.exporters import FORMATS, export, summary_rows
from vfctl.capture.losses import LossLog
from vfctl.capture.message import Direction, Form
from vfctl.capture.selection import EVERYTHING, Selection
from vfctl.capture.timeline import form_name
from vfctl.errors import CaptureError, InputError, ProtocolError, UsageError, VfctlError
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    FullGraph,
    Heartbeat,
    Message,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Trailer,
    encode,
)
from vfctl.protocol.deployed import SEQUENCED_DTYPE, V2_DTYPE, V3_DTYPE, NodeFlag

NPZ_COLUMNS = ("message", "time_s", "connection", "sequence", "timestamp_us", "offsets", "edges")


def nodes_json(x: str) -> str:
    """The nodes that conftest makes."""
    columns = {"id": "7,3,9", "x": f"{x},{x},{x}", "y": "0.5,0.5,0.5", "z": "0.1,0.1,0.1", "vx": "1.0,1.0,1.0"}
    columns |= {"vy": "0.0,0.0,0.0", "vz": "0.0,0.0,0.0"}
    return "{" + ",".join(f'"{name}":[{values}]' for name, values in columns.items()) + "}"


_NODES = [nodes_json("0.0"), nodes_json("1.0"), nodes_json("2.0")]
_BODIES = [
    '"type":"FullGraph","flags":["METADATA"],|"count":3,"nodes":'
    + _NODES[0]
    + ',"edges":{"source":[7,3],"target":[3,9],'
    '"weight":[0.3,1.0]},"metadata":{"label":["Sieben","Drei","Neun ü"],"kind":["class","class","individual"],'
    '"depth":[0,1,1],"cluster":[0,0,1]}',
    '"type":"PositionUpdate","flags":["TIMED"],|"sequence":1,"timestamp_us":1700000000050000,"interval_us":50000,'
    '"count":3,"nodes":' + _NODES[1],
    '"type":"PositionUpdate","flags":["COMPRESSED","TIMED","SETTLED"],|"sequence":2,"timestamp_us":1700000000100000,'
    '"interval_us":50000,"count":3,"nodes":' + _NODES[2],
    '"type":"NodeSelect","flags":[],|"node_id":7',
    '"type":"NodeSelect","flags":[],|"node_id":null',
    '"type":"NodeDrag","flags":["FINAL"],|"node_id":3,"x":0.1,"y":-2.5,"z":1e-9',
    '"type":"Heartbeat","flags":[],|"timestamp_us":123',
    '"type":"Heartbeat","flags":["FINAL"],|"timestamp_us":123,"responder_timestamp_us":456',
    '"type":"FilterUpdate","flags":[],|"filter":{"kind":["class"],"depth":[0,3],"search":"ü"}',
    '"type":"VoiceData","flags":["TIMED"],|"sequence":1,"timestamp_us":1700000000150000,"interval_us":0,'
    '"stream":5,"sample_rate_hz":16000,"samples":4',
    '"type":"Notice","flags":[],|"notice":{"notice":"selection","node_id":7}',
    '"type":"Reserved","flags":[],|"type_id":10,"bytes":6',
]
_TIMES = ["0.0", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.35", "0.4", "0.45", "0.5", "0.55"]
GOLDEN = [
    "{" + body.replace("|", f'"message":{number},"time_s":{time_s},"direction":"server","connection":0,') + "}"
    for number, (time_s, body) in enumerate(zip(_TIMES, _BODIES, strict=True))
]


def exported(messages: Any, format: str, selection: Selection = EVERYTHING) -> bytes:
    out = io.BytesIO()
    export(messages, format, out, selection)
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


@pytest.fixture
def compact_stream(
    compact_payloads: Callable[..., list[bytes]], make_nodes: Callable[..., Any]
) -> tuple[list[bytes], np.ndarray]:
    """A FullGraph and three COMPACT updates of its nodes, and their positions, float32 [updates, nodes, 3]."""
    states = [make_nodes(np.array([-40, 0, 40]) + step) for step in (0, 1, 2)]
    payloads = compact_payloads(FullGraph(make_nodes(0), np.zeros(0, EDGE_DTYPE)), states)
    return payloads, np.array([[[node[axis] for axis in "xyz"] for node in state] for state in states])


def test_compact_updates_are_shown_with_their_positions(compact_stream: tuple[list[bytes], np.ndarray]) -> None:
    payloads, positions = compact_stream
    messages = [CapturedMessage(payload, None, 0) for payload in payloads]
    _, *updates = [json.loads(line) for line in exported(messages, "ndjson").splitlines()]
    assert [update["flags"] for update in updates] == [["COMPACT"]] * 3
    shown = np.array([[update["nodes"][axis] for axis in "xyz"] for update in updates]).transpose(0, 2, 1)
    np.testing.assert_allclose(shown, positions, atol=1e-2)
    with np.load(io.BytesIO(exported(messages, "npz"))) as columns:
        assert columns["offsets"].tolist() == [0, 3, 6, 9]
        np.testing.assert_allclose(columns["nodes"]["x"].reshape(3, 3), positions[:, :, 0], atol=1e-2)
    assert len(exported(messages, "csv").splitlines()) == 1 + 4 * 3


def test_a_compact_update_without_what_it_is_predicted_from_is_damage(
    compact_stream: tuple[list[bytes], np.ndarray],
) -> None:
    payloads, _ = compact_stream
    messages = [CapturedMessage(payload, None, number) for number, payload in enumerate(payloads) if number != 1]
    undecodable = LossLog()
    out = io.BytesIO()
    with pytest.raises(ProtocolError, match="expected a key frame"):
        export(messages, "ndjson", out, undecodable=undecodable)
    assert len(out.getvalue().splitlines()) == 1
    assert [loss.offset for loss in undecodable] == [2, 3]


def test_what_is_not_finite_becomes_null(make_nodes: Callable[..., Any]) -> None:
    nodes = make_nodes(0, [1])
    nodes["x"], nodes["y"], nodes["vz"] = np.nan, np.inf, -np.inf
    (update, drag, notice) = exported(
        captured(PositionUpdate(nodes), NodeDrag(1, float("nan"), 0, float("inf")), Notice({"notice": "x"})), "ndjson"
    ).splitlines()
    assert b'{"id":[1],"x":[null],"y":[null],"z":[0.1],"vx":[1.0],"vy":[0.0],"vz":[null]}' in update
    assert b'"x":null,"y":0.0,"z":null' in drag
    assert json.loads(notice)
    huge = b'{"notice":"error","factor":1e999,"text":"NaN Infinity"}'
    payload = b"\x04\x08\0\0" + len(huge).to_bytes(4, "little") + huge
    text = exported([CapturedMessage(payload, None, 0)], "ndjson")
    assert b'{"notice":"error","factor":null,"text":"NaN Infinity"}' in text


def test_floats_are_the_shortest_that_round_trip_as_float32(make_nodes: Callable[..., Any]) -> None:
    values = np.random.default_rng(3).integers(0, 2**32, 2000, np.uint32).view(np.float32)
    values = values[np.isfinite(values)]
    nodes = make_nodes(0, range(len(values)))
    nodes["x"] = values
    nodes["x"][:4] = 0.1, 1 / 3, 1e-5, 16777216
    messages = captured(PositionUpdate(nodes))
    shown = json.loads(exported(messages, "ndjson"))["nodes"]["x"]
    assert np.array(shown, np.float32).tolist() == nodes["x"].tolist()
    assert b'"x":[0.1,0.33333334,0.00001,16777216.0,' in exported(messages, "ndjson")
    column = [row.split(b",")[7] for row in exported(messages, "csv").splitlines()[1:]]
    assert column[:4] == [b"0.1", b"0.33333334", b"0.00001", b"16777216.0"]
    assert np.array(column, np.float64).astype(np.float32).tolist() == nodes["x"].tolist()


def test_csv_names_what_is_not_finite(make_nodes: Callable[..., Any]) -> None:
    nodes = make_nodes(0, [1])
    nodes["x"], nodes["y"], nodes["vz"] = np.nan, np.inf, -np.inf
    assert exported(captured(PositionUpdate(nodes)), "csv").splitlines()[1] == (
        b"0,0.000000,PositionUpdate,0,,,1,nan,inf,0.1,1.0,0.0,-inf"
    )


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
    assert rows[0] == "message,time_s,type,connection,sequence,timestamp_us,id,x,y,z,vx,vy,vz"
    assert rows[1] == "0,0.000000,FullGraph,0,,,7,0.0,0.5,0.1,1.0,0.0,0.0"
    assert rows[4] == "1,0.050000,PositionUpdate,0,1,1700000000050000,7,1.0,0.5,0.1,1.0,0.0,0.0"
    assert rows[9] == "2,0.100000,PositionUpdate,0,2,1700000000100000,9,2.0,0.5,0.1,1.0,0.0,0.0"
    assert len(rows) == 1 + 3 * 3
    assert {len(row) for row in csv.reader(rows)} == {13}


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
        assert set(columns) == {*NPZ_COLUMNS, "nodes", "form"}
        assert columns["message"].tolist() == [1, 2, 3]
        assert columns["connection"].tolist() == [0, 0, 0]
        assert columns["form"] == "v4"
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
    export(endless(), format, out, Selection(limit=2))
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
        case "parquet":
            assert pq.read_table(io.BytesIO(out.getvalue())).num_rows == 9


def parsed_count(format: str, content: bytes) -> int:
    """How many entries a document has, which has to be whole."""
    match format:
        case "json":
            return len(json.loads(content))
        case "ndjson":
            return len([json.loads(line) for line in content.splitlines()])
        case "csv":
            return len({row[0] for row in csv.reader(content.decode().splitlines()[1:])})
        case "parquet":
            return len(set(pq.read_table(io.BytesIO(content)).column("message").to_pylist()))
        case _:
            with np.load(io.BytesIO(content)) as columns:
                assert columns["offsets"][-1] == len(columns["nodes"])
                return len(columns["time_s"])


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
@pytest.mark.parametrize("format", FORMATS)
def test_whatever_is_damaged_the_document_is_whole_and_says_so(
    format: str, name: str, record: Callable[..., Path], every_message: list[Message], tmp_path: Path
) -> None:
    content = record(every_message, name).read_bytes()
    whole = parsed_count(format, exported(open_capture(record(every_message, name)), format))
    chance = random.Random(11)
    path = tmp_path / "damaged"
    for number in range(60):
        damaged = bytearray(content)
        if number % 2:
            del damaged[chance.randrange(len(content)) :]
        else:
            damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        out, error, undecodable = io.BytesIO(), None, LossLog()
        try:
            capture = open_capture(path)
        except CaptureError:
            continue
        with capture:
            try:
                export(capture, format, out, undecodable=undecodable)
            except VfctlError as caught:
                error = caught
        count = parsed_count(format, out.getvalue())
        assert count <= whole
        assert (error is None) == (not capture.losses and not undecodable)
        if error:
            assert error.exit_code == 5
        elif name == "a.mcap":
            assert count == whole, "its checksums leave no flipped bit unnoticed"


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'xml'") as caught:
        exported([], "xml")
    assert all(format in (caught.value.hint or "") for format in FORMATS)


@pytest.mark.parametrize("format", ["npz", "parquet", "csv"])
def test_a_full_disk(format: str, make_nodes: Callable[..., Any]) -> None:
    updates = captured(*[PositionUpdate(make_nodes(0, range(10_000)))] * 20)
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(InputError, match="No space left"):
        export(updates, format, full)  # type: ignore[arg-type]


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
    assert len(list(summary_rows(open_capture(record(every_message)), Selection(limit=2)))) == 2


def test_a_peer_cannot_steer_the_terminal_by_a_summary() -> None:
    (row,) = summary_rows(captured(Notice({"notice": "\x9b31m\u202e" + "long" * 100})))
    assert row.detail.isprintable()
    assert len(row.detail) == 81


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
@pytest.mark.parametrize("format", FORMATS)
def test_export_memory_stays_flat(
    format: str, name: str, record: Callable[..., Path], make_nodes: Callable[..., Any], tmp_path: Path
) -> None:
    count = 300 if format == "csv" else 600  # 17 or 34 MB: tracing makes CSV slow
    path = record([PositionUpdate(make_nodes(0, range(2_000)))] * count, name)
    with (tmp_path / "out").open("wb") as out:
        tracemalloc.start()
        try:
            export(open_capture(path), format, out)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 16 * 2**20


def test_capture_errors_come_through_too(record: Callable[..., Path], every_message: list[Message]) -> None:
    path = record(every_message)
    path.write_bytes(path.read_bytes()[:-1])
    out = io.BytesIO()
    with pytest.raises(CaptureError):
        export(open_capture(path), "json", out)
    assert len(json.loads(out.getvalue())) == 12


def test_every_object_begins_with_its_type_and_place(every_message: list[Message]) -> None:
    for line in exported(captured(*every_message), "ndjson").splitlines():
        assert list(json.loads(line))[:6] == ["type", "flags", "message", "time_s", "direction", "connection"]


def test_parquet_has_the_rows_of_the_csv(record: Callable[..., Path], every_message: list[Message]) -> None:
    table = pq.read_table(io.BytesIO(exported(open_capture(record(every_message)), "parquet")))
    assert str(table.schema.field("x").type) == "float"
    assert str(table.schema.field("sequence").type) == "uint64"
    rows = [",".join("" if v is None else str(v) for v in row.values()) for row in table.to_pylist()]
    lines = exported(open_capture(record(every_message)), "csv").decode().splitlines()[1:]
    assert len(rows) == len(lines) == 9
    for row, line in zip(rows, lines, strict=True):
        mine, theirs = row.split(","), line.split(",")
        assert mine[2:7] == theirs[2:7]
        np.testing.assert_allclose([float(v) for v in mine[7:]], [float(v) for v in theirs[7:]], rtol=1e-6)


def test_parquet_is_written_in_row_groups(make_nodes: Callable[..., Any]) -> None:
    """A group ends with the message that reaches 128 Ki rows: this bounds the memory."""
    updates = captured(*[PositionUpdate(make_nodes(0, range(100_000)))] * 6)
    file = pq.ParquetFile(io.BytesIO(exported(updates, "parquet")))
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [200_000] * 3


def deployed(form: Form, nodes: int = 2) -> CapturedMessage:
    """A frame of that form: ids 5 and 6 with flags, x = 1.5."""
    dtype = {Form.V2: V2_DTYPE, Form.V3: V3_DTYPE, Form.V5: V3_DTYPE, Form.SEQUENCED: SEQUENCED_DTYPE}[form]
    records = np.zeros(nodes, dtype)
    records["id"] = np.arange(5, 5 + nodes) | (NodeFlag.AGENT | NodeFlag.CLASS)
    records["x"] = 1.5
    if "parent" in (dtype.names or ()):
        records["parent"] = -1
    head = {Form.V2: b"\x02", Form.V3: b"\x03", Form.V5: b"\x05", Form.SEQUENCED: b"\x42"}[form]
    sequence = (77).to_bytes(8, "little") if form in (Form.V5, Form.SEQUENCED) else b""
    return CapturedMessage(head + sequence + records.tobytes(), 10**18, 0, form=form)


@pytest.mark.parametrize("form", [form for form in Form if form is not Form.V4])
def test_frames_of_deployed_servers_are_shown_as_what_they_are(form: Form) -> None:
    name, flags = form_name(form), int(NodeFlag.AGENT | NodeFlag.CLASS)
    line = json.loads(exported([deployed(form)], "ndjson"))
    assert (line["type"], line["count"]) == (name, 2)
    assert line["nodes"]["id"] == [5, 6]
    assert line["nodes"]["flags"] == [flags] * 2
    assert ("sequence" in line) == (form in (Form.V5, Form.SEQUENCED))
    header, row, _ = exported([deployed(form)], "csv").decode().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert (values["type"], values["id"], values["flags"], values["x"]) == (name, "5", str(flags), "1.5")
    assert values["sequence"] == ("77" if "sequence" in line else "")
    assert ("parent" in values) == (form is not Form.SEQUENCED)
    assert ("anomaly" in values) == (form in (Form.V3, Form.V5))
    with np.load(io.BytesIO(exported([deployed(form)], "npz"))) as columns:
        assert columns["form"] == form.value
        assert columns["nodes"]["id"].tolist() == [5, 6]
    (parquet_row, _) = pq.read_table(io.BytesIO(exported([deployed(form)], "parquet"))).to_pylist()
    assert parquet_row["flags"] == flags
    (summary,) = summary_rows([deployed(form)])
    assert (summary.type, summary.count, summary.detail) == (name, 2, "2 class, 2 agent")


@pytest.mark.parametrize("format", ["csv", "npz", "parquet"])
def test_nodes_that_a_table_has_no_columns_for_are_not_left_out_in_silence(
    format: str, make_nodes: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    exported([*captured(PositionUpdate(make_nodes(0))), deployed(Form.V3)], format)
    assert "2 nodes of another form are left out" in caplog.text


def test_what_clients_sent_and_other_connections_are_told_apart() -> None:
    messages = [
        CapturedMessage(encode(NodeSelect(1)), 10**18, 0, Direction.CLIENT, 3),
        CapturedMessage(encode(Heartbeat(1)), 10**18, 9, Direction.SERVER, 3),
    ]
    client, server = [json.loads(line) for line in exported(messages, "ndjson").splitlines()]
    assert (client["direction"], client["connection"]) == ("client", 3)
    assert (server["direction"], server["connection"]) == ("server", 3)
    assert [(row.direction, row.connection) for row in summary_rows(messages)] == [("client", 3), ("server", 3)]
