"""(Re)writes the golden vectors beside it: NAME.bin, one message each, and NAME.json, what it says. `streams/` has
messages in a row, see `streams.py`.

    python tests/vectors/generate.py [DIRECTORY]

Every decoder of V4 reads them, here and in the viewer. The JSON twin has the form of `vfctl decode --format ndjson`,
and more: a `comment`; `pcm` with the samples of VoiceData; `hex` with the bytes that stay opaque; `canonical`: false if
the encoder would write it otherwise. Floats are float32: compare them as such. An `invalid-*` has an `error` instead,
with the `offset` of the first byte at fault.

Compressed blocks may differ between LZ4 libraries: what they unpack to counts, not their bytes. All others are
reproduced byte by byte, so a change to a committed vector is a change of the format.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vfctl.protocol import (
    EDGE_DTYPE,
    EVERYTHING,
    NODE_DTYPE,
    CompactUpdate,
    Filter,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    Message,
    Metadata,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    Trailer,
    VoiceData,
    describe,
    encode,
)

NODES = np.array(
    [
        (0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (7, 1.5, -2.25, 0.1, 0.001, -0.0, 1e-40),
        (0xFFFFFFFE, 3.4028235e38, -1e10, 123.456, -1.0, 2.0, -3.0),
    ],
    NODE_DTYPE,
)
EDGES = np.array([(0, 7, 1.0), (7, 0xFFFFFFFE, 0.25)], EDGE_DTYPE)
METADATA = Metadata(
    label=("Thing", "Käse 🧀", 'quote " and \\ and \n'),
    kind=("class", "individual", "other"),
    depth=(0, 1, 5),
    cluster=(0, 3, -1),
)
TRAILER = Trailer(sequence=41, timestamp_us=1_769_688_000_123_456, interval_us=50_000)
SAMPLES = np.array([0, 1, -1, 32_767, -32_768], "<i2")


def many_nodes(count: int) -> np.ndarray:
    """A smooth curve: enough alike for LZ4 to find something."""
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["id"] = np.arange(count)
    steps = np.arange(count, dtype=np.float32) / 64
    nodes["x"], nodes["y"], nodes["z"] = steps, steps * steps, -steps
    return nodes


VALID: dict[str, tuple[str, Message]] = {
    "full-graph": ("three nodes, two edges", FullGraph(NODES, EDGES)),
    "full-graph-empty": ("what a filter that matches nothing gets", FullGraph(NODES[:0], EDGES[:0])),
    "full-graph-metadata": ("columns in node order, not only ASCII", FullGraph(NODES, EDGES, METADATA)),
    "full-graph-timed": ("the trailer stands last", FullGraph(NODES, EDGES, None, TRAILER)),
    "full-graph-timed-metadata": ("the trailer stands behind the metadata", FullGraph(NODES, EDGES, METADATA, TRAILER)),
    "full-graph-compressed": ("edges are in the block, unshuffled", FullGraph(NODES, EDGES, compressed=True)),
    "full-graph-compressed-timed-metadata": (
        "edges and metadata are in the block, the trailer is not",
        FullGraph(NODES, EDGES, METADATA, TRAILER, compressed=True),
    ),
    "position-update": ("extremes of float32, ids with high bits", PositionUpdate(NODES)),
    "position-update-empty": ("no nodes: eight bytes", PositionUpdate(NODES[:0])),
    "position-update-settled": ("the layout is stable", PositionUpdate(NODES, settled=True)),
    "position-update-timed": ("20 bytes more", PositionUpdate(NODES, trailer=TRAILER)),
    "position-update-compressed": ("64 nodes, shuffled, LZ4", PositionUpdate(many_nodes(64), compressed=True)),
    "position-update-compressed-empty": ("no nodes, one block", PositionUpdate(NODES[:0], compressed=True)),
    "position-update-compressed-timed-settled": (
        "all that goes together; the trailer is not compressed",
        PositionUpdate(many_nodes(5), True, TRAILER, True),
    ),
    "position-update-compact": ("the section stays opaque", CompactUpdate(3, bytes(range(16)))),
    "position-update-compact-timed-settled": ("all that goes together", CompactUpdate(3, b"\xff", True, TRAILER)),
    "node-select": ("a click", NodeSelect(7)),
    "node-select-cleared": ("0xFFFFFFFF", NodeSelect(None)),
    "node-drag": ("held", NodeDrag(7, 1.5, -2.25, 0.5)),
    "node-drag-final": ("released", NodeDrag(7, 1.5, -2.25, 0.5, True)),
    "heartbeat": ("a request", Heartbeat(1_769_688_000_000_000)),
    "heartbeat-reply": ("the time echoed, then the replier's", Heartbeat(1_769_688_000_000_000, 1_769_688_000_001_500)),
    "filter-update-everything": ("{} clears", FilterUpdate(EVERYTHING)),
    "filter-update": (
        "all four criteria",
        FilterUpdate(Filter(frozenset({"individual", "class"}), (0, 3), frozenset({7, 1}), "Käse")),
    ),
    "filter-update-nothing": ("an empty list keeps none", FilterUpdate(Filter(kinds=frozenset()))),
    "voice-data": ("extremes of s16", VoiceData(0, 48_000, SAMPLES)),
    "voice-data-timed": ("the sequence counts the stream's messages", VoiceData(9, 16_000, SAMPLES, TRAILER)),
    "notice-error": ("what went wrong", Notice({"notice": "error", "message": "unknown filter key 'colour'"})),
    "notice-selection": ("who selected what", Notice({"notice": "selection", "client": 3, "node_id": None})),
    "reserved": ("a type of a later version", Reserved(0x09, b"\x00\x01\xfe\xff")),
    "reserved-empty": ("the last reserved type, without content", Reserved(0x0F, b"")),
}

_BYTES = {name: encode(message) for name, (_, message) in VALID.items()}


def edited(name: str, at: int, new: bytes) -> bytes:
    """A valid vector with some bytes replaced."""
    buffer = bytearray(_BYTES[name])
    buffer[at : at + len(new)] = new
    return bytes(buffer)


def sized(type_id: int, payload: bytes) -> bytes:
    return struct.pack("<BBBBI", 4, type_id, 0, 0, len(payload)) + payload


def graph_with(metadata: bytes) -> bytes:
    """An empty FullGraph with this as its metadata, which starts at byte 16."""
    return struct.pack("<BBBBIII", 4, 1, 0x08, 0, 0, 0, len(metadata)) + metadata


NOT_CANONICAL: dict[str, tuple[str, bytes, str]] = {
    "header-reserved-byte": ("the fourth byte is ignored", edited("position-update", 3, b"\xa5"), "position-update"),
    "filter-update-spaced": (
        "blanks, another order, nulls",
        sized(6, b'{ "search":"K\\u00e4se", "cluster":[7,1,7],"depth":[0,3],"kind":["class","individual"] }'),
        "filter-update",
    ),
    "filter-update-nulls": (
        "null and an empty search are no criteria",
        sized(6, b'{"kind":null,"depth":null,"cluster":null,"search":""}'),
        "filter-update-everything",
    ),
}
"""name: (comment, bytes, the vector that says the same)."""

INVALID: dict[str, tuple[str, bytes, int]] = {
    "invalid-empty": ("no bytes at all", b"", 0),
    "invalid-header-cut": ("three bytes", b"\x04\x02\x00", 3),
    "invalid-version-3": ("older versions are not guessed", edited("node-select", 0, b"\x03"), 0),
    "invalid-version-5": ("nor newer ones", edited("node-select", 0, b"\x05"), 0),
    "invalid-type-0": ("below the first type", edited("node-select", 1, b"\x00"), 1),
    "invalid-type-16": ("beyond the last type", edited("node-select", 1, b"\x10"), 1),
    "invalid-flag-0x40": ("a flag that nobody knows", edited("position-update", 2, b"\x40"), 2),
    "invalid-flag-on-type": ("a select cannot be timed", edited("node-select", 2, b"\x04"), 2),
    "invalid-flag-on-reserved": ("reserved types have no flags", edited("reserved", 2, b"\x01"), 2),
    "invalid-compressed-and-compact": ("never together", edited("position-update-compact", 2, b"\x03"), 2),
    "invalid-metadata-on-update": ("only FullGraph has it", edited("position-update", 2, b"\x08"), 2),
    "invalid-nodes-cut": ("the last byte is missing", _BYTES["position-update"][:-1], 91),
    "invalid-nodes-too-long": ("one byte more", _BYTES["position-update"] + b"\x00", 92),
    "invalid-count-bomb": ("four billion nodes", edited("position-update", 4, b"\xff\xff\xff\xff"), 4),
    "invalid-trailer-cut": ("19 bytes of it", _BYTES["position-update-timed"][:-1], 111),
    "invalid-edge-bomb": ("four billion edges", edited("full-graph-empty", 8, b"\xff\xff\xff\xff"), 8),
    "invalid-metadata-bomb": ("4 GB of labels", edited("full-graph-metadata", 120, b"\xff\xff\xff\xff"), 120),
    "invalid-raw-length": ("not 64 nodes' worth", edited("position-update-compressed", 8, b"\x01\x07\x00\x00"), 8),
    "invalid-raw-length-bomb": (
        "20 bytes that unpack to 128 MB",
        struct.pack("<BBBBIII", 4, 2, 1, 0, 4_793_490, 4_793_490 * 28, 4) + bytes(4),
        8,
    ),
    "invalid-lz4-damaged": ("a match from before the start", edited("position-update-compressed", 17, bytes(8)), 16),
    "invalid-lz4-short": (
        "unpacks to one byte, says 28",
        struct.pack("<BBBBIII", 4, 2, 1, 0, 1, 28, 2) + b"\x10\x00",
        16,
    ),
    "invalid-metadata-not-json": ("a value that is none", graph_with(b'{"label":nope}'), 25),
    "invalid-metadata-column-missing": ("no clusters", graph_with(b'{"label":[],"kind":[],"depth":[]}'), 16),
    "invalid-metadata-too-long": (
        "one label for no node",
        graph_with(b'{"label":["a"],"kind":[],"depth":[],"cluster":[]}'),
        16,
    ),
    "invalid-select-cut": ("half an id", _BYTES["node-select"][:6], 6),
    "invalid-heartbeat-reply-cut": ("FINAL, but one time", edited("heartbeat", 2, b"\x10"), 12),
    "invalid-filter-not-utf8": ("a stray byte", sized(6, b'{"search":"\xff"}'), 19),
    "invalid-filter-not-json": ("cut off", sized(6, b'{"search":'), 18),
    "invalid-filter-list": ("not an object", sized(6, b"[]"), 8),
    "invalid-filter-key": ("an unknown criterion", sized(6, b'{"colour":"red"}'), 8),
    "invalid-filter-depth": ("one bound", sized(6, b'{"depth":[1]}'), 8),
    "invalid-filter-nan": ("NaN is not JSON", sized(6, b'{"depth":[NaN,1]}'), 8),
    "invalid-filter-surrogate": ("half a pair cannot be written again", sized(6, b'{"search":"\\ud800"}'), 8),
    "invalid-voice-count": ("says six samples, has five", edited("voice-data", 12, b"\x06\x00\x00\x00"), 26),
    "invalid-voice-bomb": ("4 billion samples", edited("voice-data", 12, b"\xff\xff\xff\xff"), 12),
    "invalid-notice-nameless": ("nobody knows what it notices", sized(8, b'{"text":"?"}'), 8),
    "invalid-compact-cut": ("the section is shorter than it says", _BYTES["position-update-compact"][:-1], 27),
    "invalid-reserved-bomb": ("4 GB", edited("reserved", 4, b"\xff\xff\xff\xff"), 4),
}
"""name: (comment, bytes, offset of the first byte at fault)."""


def to_json(message: Message) -> dict[str, Any]:
    """The twin of a message, without its comment. Knows nothing of bytes."""
    name, flags = describe(message)
    twin: dict[str, Any] = {"type": name, "flags": [flag.name for flag in flags]}
    trailer = getattr(message, "trailer", None)
    if trailer is not None:
        twin |= {name: getattr(trailer, name) for name in ("sequence", "timestamp_us", "interval_us")}
    match message:
        case FullGraph() | PositionUpdate():
            twin |= {"count": len(message.nodes), "nodes": records(message.nodes)}
            if isinstance(message, FullGraph):
                twin["edges"] = records(message.edges)
                if message.metadata is not None:
                    columns = {key: list(getattr(message.metadata, key)) for key in message.metadata.__slots__}
                    twin["metadata"] = columns
        case CompactUpdate():
            twin |= {"count": message.count, "bytes": len(message.section), "hex": message.section.hex()}
        case NodeSelect():
            twin["node_id"] = message.node_id
        case NodeDrag():
            twin |= {"node_id": message.node_id, "x": message.x, "y": message.y, "z": message.z}
        case Heartbeat():
            twin["timestamp_us"] = message.timestamp_us
            if message.responder_timestamp_us is not None:
                twin["responder_timestamp_us"] = message.responder_timestamp_us
        case FilterUpdate():
            twin["filter"] = message.filter.to_json()
        case VoiceData():
            twin |= {"stream": message.stream, "sample_rate_hz": message.sample_rate_hz}
            twin |= {"samples": len(message.samples), "pcm": message.samples.tolist()}
        case Notice():
            twin["notice"] = dict(message.body)
        case Reserved():
            twin |= {"type_id": message.type_id, "bytes": len(message.payload), "hex": message.payload.hex()}
    return twin


def records(array: np.ndarray) -> list[dict[str, float | None]]:
    """One object a row; float32 with the fewest digits that tell it from its neighbours."""
    names = array.dtype.names or ()
    return [
        {name: int(row[name]) if array.dtype[name].kind == "u" else shortest(row[name]) for name in names}
        for row in array
    ]


def shortest(value: np.float32) -> float | None:
    """With the fewest digits that tell it from its neighbours; null if it is not finite."""
    return float(str(value)) if np.isfinite(value) else None


def vectors() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Every vector: (name, bytes, JSON twin)."""
    for name, (comment, message) in VALID.items():
        yield name, _BYTES[name], {"comment": comment, **to_json(message)}
    for name, (comment, buffer, like) in NOT_CANONICAL.items():
        yield name, buffer, {"comment": comment, "canonical": False, **to_json(VALID[like][1])}
    for name, (comment, buffer, offset) in INVALID.items():
        yield name, buffer, {"comment": comment, "error": {"offset": offset}}


def golden_streams() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Every stream: (name, the bytes of its messages, JSON twin)."""
    spec = importlib.util.spec_from_file_location("golden_streams", Path(__file__).parent / "streams.py")
    assert spec is not None
    assert spec.loader is not None
    streams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(streams)
    for name, (comment, row) in streams.VALID.items():
        twins = [to_json(sent.message) | ({"section": sent.section} if sent.section else {}) for sent in row]
        yield name, b"".join(sent.buffer for sent in row), {"comment": comment, "messages": twins}
    for name, (comment, buffers, offset) in streams.INVALID.items():
        error = {"message": len(buffers) - 1, "offset": offset}
        yield name, b"".join(buffers), {"comment": comment, "error": error}


def write(directory: Path, tell: Callable[[str], object]) -> None:
    """Write them all; what is no longer a vector goes."""
    write_all(directory, vectors(), tell)
    (directory / "streams").mkdir(exist_ok=True)
    write_all(directory / "streams", golden_streams(), tell)


def write_all(
    directory: Path, pairs: Iterator[tuple[str, bytes, dict[str, Any]]], tell: Callable[[str], object]
) -> None:
    """One directory."""
    kept = set()
    for name, buffer, twin in pairs:
        (directory / f"{name}.bin").write_bytes(buffer)
        (directory / f"{name}.json").write_text(as_text(twin), encoding="utf-8")
        kept |= {f"{name}.bin", f"{name}.json"}
    for path in sorted(directory.iterdir()):
        if path.suffix in (".bin", ".json") and path.name not in kept:
            path.unlink()
            tell(f"removed {path.name}")
    tell(f"{len(kept) // 2} vectors in {directory}")


def as_text(twin: dict[str, Any]) -> str:
    """One key a line, one node or edge a line: small diffs, and still fit to read."""
    return as_object(twin, "") + "\n"


def as_object(twin: dict[str, Any], indent: str) -> str:
    lines = []
    for key, value in twin.items():
        if key in ("nodes", "edges", "messages") and value:
            inner = indent + "    "
            rows = (inner + (as_object(row, inner) if key == "messages" else dump(row)) for row in value)
            lines.append(f'{indent}  "{key}": [\n' + ",\n".join(rows) + f"\n{indent}  ]")
        else:
            lines.append(f'{indent}  "{key}": {dump(value)}')
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent, lambda text: print(text, file=sys.stderr))
