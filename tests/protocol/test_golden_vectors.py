"""The golden vectors, read by this codec: whole, cut at every byte, with more behind, and written again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vfctl.errors import ProtocolError
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactUpdate,
    Filter,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    Message,
    MessageSplitter,
    Metadata,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    Trailer,
    VoiceData,
    decode,
    describe,
    encode,
    message_length,
)

VECTORS = Path(__file__).parent.parent / "vectors"
TWINS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(VECTORS.glob("*.json"))}
VALID = [name for name, twin in TWINS.items() if "error" not in twin]
INVALID = [name for name, twin in TWINS.items() if "error" in twin]


def read(name: str) -> bytes:
    return (VECTORS / f"{name}.bin").read_bytes()


def table(rows: list[dict[str, float]], dtype: np.dtype) -> np.ndarray:
    return np.array([tuple(row[field] for field in dtype.names) for row in rows], dtype)


def from_twin(twin: dict[str, Any]) -> Message:
    """The message that a JSON twin describes; reads no bytes."""
    flags = twin["flags"]
    trailer = Trailer(twin["sequence"], twin["timestamp_us"], twin["interval_us"]) if "TIMED" in flags else None
    compressed, settled, final = (flag in flags for flag in ("COMPRESSED", "SETTLED", "FINAL"))
    match twin["type"]:
        case "FullGraph":
            columns = {name: tuple(values) for name, values in twin.get("metadata", {}).items()}
            metadata = Metadata(**columns) if "METADATA" in flags else None
            nodes, edges = table(twin["nodes"], NODE_DTYPE), table(twin["edges"], EDGE_DTYPE)
            return FullGraph(nodes, edges, metadata, trailer, compressed)
        case "PositionUpdate" if "COMPACT" in flags:
            return CompactUpdate(twin["count"], bytes.fromhex(twin["hex"]), settled, trailer)
        case "PositionUpdate":
            assert twin["count"] == len(twin["nodes"])
            return PositionUpdate(table(twin["nodes"], NODE_DTYPE), settled, trailer, compressed)
        case "NodeSelect":
            return NodeSelect(twin["node_id"])
        case "NodeDrag":
            return NodeDrag(twin["node_id"], twin["x"], twin["y"], twin["z"], final)
        case "Heartbeat":
            return Heartbeat(twin["timestamp_us"], twin["responder_timestamp_us"] if final else None)
        case "FilterUpdate":
            return FilterUpdate(Filter.from_json(twin["filter"]))
        case "VoiceData":
            assert twin["samples"] == len(twin["pcm"])
            return VoiceData(twin["stream"], twin["sample_rate_hz"], np.array(twin["pcm"], "<i2"), trailer)
        case "Notice":
            return Notice(twin["notice"])
        case "Reserved":
            return Reserved(twin["type_id"], bytes.fromhex(twin["hex"]))
    raise AssertionError(f"no such type: {twin['type']}")


def test_the_committed_files_are_what_the_generator_writes():
    spec = importlib.util.spec_from_file_location("generate_vectors", VECTORS / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    names = set()
    for name, buffer, twin in generate.vectors():
        names.add(name)
        assert (VECTORS / f"{name}.json").read_text(encoding="utf-8") == generate.as_text(twin), name
        if "COMPRESSED" not in twin.get("flags", []) and not name.startswith("invalid-"):
            assert read(name) == buffer, name
    assert {path.stem for path in VECTORS.glob("*.bin")} == names == set(TWINS)


def test_every_type_and_flag_is_there():
    shown = {(TWINS[name]["type"], flag) for name in VALID for flag in [None, *TWINS[name]["flags"]]}
    assert {kind for kind, _ in shown} >= {
        "FullGraph", "PositionUpdate", "NodeSelect", "NodeDrag", "Heartbeat", "FilterUpdate", "VoiceData", "Notice",
        "Reserved",
    }  # fmt: skip
    assert {(kind, flag) for kind, flag in shown if flag} == {
        *(("FullGraph", flag) for flag in ("COMPRESSED", "TIMED", "METADATA")),
        *(("PositionUpdate", flag) for flag in ("COMPRESSED", "COMPACT", "TIMED", "SETTLED")),
        *(("NodeDrag", "FINAL"), ("Heartbeat", "FINAL"), ("VoiceData", "TIMED")),
    }


@pytest.mark.parametrize("name", VALID)
def test_a_vector_says_what_its_twin_says(name):
    message = decode(read(name))
    assert message == from_twin(TWINS[name])
    kind, flags = describe(message)
    assert (kind, [flag.name for flag in flags]) == (TWINS[name]["type"], TWINS[name]["flags"])


@pytest.mark.parametrize("name", VALID)
def test_the_twin_is_written_as_the_vector(name):
    encoded = encode(from_twin(TWINS[name]))
    if "COMPRESSED" in TWINS[name]["flags"]:  # LZ4 libraries may find different matches
        assert decode(encoded) == decode(read(name))
    elif TWINS[name].get("canonical", True):
        assert encoded == read(name)
    else:
        assert encoded != read(name)
        assert decode(encoded) == decode(read(name))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("name", VALID)
def test_any_buffer_will_do(name, kind):
    assert decode(kind(read(name))) == decode(read(name))


@pytest.mark.parametrize("name", VALID)
def test_cut_anywhere_it_is_a_protocol_error_at_the_cut(name):
    whole = read(name)
    for length in range(len(whole)):
        with pytest.raises(ProtocolError, match=r"expected (at least )?\d+ bytes") as caught:
            decode(whole[:length])
        assert caught.value.offset == length


@pytest.mark.parametrize("name", VALID)
def test_with_more_behind_it_is_a_protocol_error_where_that_begins(name):
    whole = read(name)
    for more in (b"\x00", whole, bytes(20)):
        with pytest.raises(ProtocolError, match=f"{len(more)} bytes too many") as caught:
            decode(whole + more)
        assert caught.value.offset == len(whole)


@pytest.mark.parametrize("name", VALID)
def test_byte_by_byte_it_comes_whole_with_its_last_byte(name):
    whole = read(name)
    assert message_length(whole) == len(whole)
    splitter = MessageSplitter()
    for byte in whole[:-1]:
        assert list(splitter.split(bytes((byte,)))) == []
    assert list(splitter.split(whole[-1:] + b"\x04")) == [whole]
    assert splitter.pending == 1


def test_all_in_a_row_they_come_apart_again():
    messages = [read(name) for name in VALID]
    splitter = MessageSplitter()
    assert list(splitter.split(b"".join(messages))) == messages
    splitter.finish()


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_vector_is_refused_where_it_is_wrong(name):
    with pytest.raises(ProtocolError) as caught:
        decode(read(name))
    assert caught.value.offset == TWINS[name]["error"]["offset"]
    assert caught.value.exit_code == 5
    assert str(caught.value).startswith(f"byte {caught.value.offset}: ")
