"""JSON: one array of objects, or one object per line. orjson writes the numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import orjson

from vfctl.capture.exporters.records import split_flags
from vfctl.capture.message import Direction
from vfctl.capture.timeline import DecodedMessage, DecodedRun, Item, form_name
from vfctl.protocol import (
    CompactUpdate,
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
)
from vfctl.protocol.deployed import DeployedFrame

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
_COLUMN_BYTES: Final = 2**19
"""A run is converted in parts of this size, which stay in the processor's cache until they are written."""


def write_ndjson(items: Iterator[Item], out: BinaryIO) -> None:
    """Write one object per line. Each is flushed, because the recording may be a live pipe."""
    options = _OPTIONS | orjson.OPT_APPEND_NEWLINE
    for item in items:
        if isinstance(item, DecodedRun):
            out.writelines(_run_lines(item, options))
        else:
            out.write(to_json(item, options))
        out.flush()


def write_json(items: Iterator[Item], out: BinaryIO) -> None:
    """Write one array of the same objects."""
    out.write(b"[")
    separator = b"\n"
    for item in items:
        for line in _run_lines(item) if isinstance(item, DecodedRun) else (to_json(item),):
            out.write(separator)
            out.write(line)
            separator = b",\n"
    out.write(b"\n]\n")


def to_json(item: DecodedMessage, options: int = _OPTIONS) -> bytes:
    """One message as a JSON object on one line: `type`, `flags`, its position and time, then its fields.

    Nodes and edges are columns, like METADATA. A float32 has the fewest digits that round-trip. Values that are not
    finite become null.
    """
    message = item.message
    if isinstance(message, DeployedFrame):
        name, flags = form_name(message.form), []
    else:
        name, flag_bits = describe(message)
        flags = [flag.name or "" for flag in flag_bits]
    place = _place(name, flags, item.number, item.time_s, item.direction, item.connection)
    return orjson.dumps(place | _fields(message), option=options)


def _run_lines(run: DecodedRun, options: int = _OPTIONS) -> Iterator[bytes]:
    for part in run.split(_COLUMN_BYTES):
        yield from _lines(part, options)


def _lines(run: DecodedRun, options: int) -> Iterator[bytes]:
    flags = (["TIMED"] if run.trailers is not None else []) + (["SETTLED"] if run.settled else [])
    columns = _columns(run.nodes)
    trailers = run.trailers.tolist() if run.trailers is not None else [None] * len(run)
    times_s = (np.rint(run.times_s * 1e6) / 1e6).tolist()
    line = _place("PositionUpdate", flags, 0, 0.0, Direction.SERVER, run.connection)
    for number, time_s, trailer, *values in zip(
        run.numbers.tolist(), times_s, trailers, *columns.values(), strict=True
    ):
        line["message"], line["time_s"] = number, time_s
        if trailer:
            line["sequence"], line["timestamp_us"], line["interval_us"] = trailer
        line["count"] = len(values[0])
        line["nodes"] = dict(zip(columns, values, strict=True))
        yield orjson.dumps(line, option=options)


def _place(
    name: str, flags: list[str], number: int, time_s: float, direction: Direction, connection: int
) -> dict[str, Any]:
    """The first fields of every object. Times have µs, because further digits are rounding errors."""
    return {
        "type": name,
        "flags": flags,
        "message": number,
        "time_s": round(time_s * 1e6) / 1e6,
        "direction": direction.value,
        "connection": connection,
    }


def dump(value: Any) -> str:
    """Compact JSON. NaN and infinities (1e999 in a Notice) become null.

    A value that is nested too deeply for the interpreter (hundreds of levels) becomes a text that says so.
    """
    try:
        text = _compact_json(value)
        if "Infinity" in text or "NaN" in text:
            text = _compact_json(json.loads(text, parse_constant=lambda _: None))
    except RecursionError:
        return '"(nested too deeply to be shown)"'
    return text


def _compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fields(message: Message | DeployedFrame) -> dict[str, Any]:
    """The fields of a message, as orjson accepts them."""
    match message:
        case FullGraph():
            fields = {**_trailer(message.trailer), "count": len(message.nodes), "nodes": _columns(message.nodes)}
            fields["edges"] = _columns(message.edges)
            if message.metadata is not None:
                fields["metadata"] = _metadata(message.metadata)
            return fields
        case PositionUpdate():
            return {**_trailer(message.trailer), "count": len(message.nodes), "nodes": _columns(message.nodes)}
        case DeployedFrame():
            sequence = {} if message.sequence is None else {"sequence": message.sequence}
            return {**sequence, "count": len(message.records), "nodes": _columns(split_flags(message))}
        case CompactUpdate():
            return {**_trailer(message.trailer), "count": message.count, "bytes": len(message.section)}
        case NodeSelect():
            return {"node_id": message.node_id}
        case NodeDrag():
            x, y, z = (np.float32(value) for value in (message.x, message.y, message.z))
            return {"node_id": message.node_id, "x": x, "y": y, "z": z}
        case Heartbeat():
            fields = {"timestamp_us": message.timestamp_us}
            if message.responder_timestamp_us is not None:
                fields["responder_timestamp_us"] = message.responder_timestamp_us
            return fields
        case FilterUpdate():
            return {"filter": _foreign(message.filter.to_json())}
        case VoiceData():
            return {
                **_trailer(message.trailer),
                "stream": message.stream,
                "sample_rate_hz": message.sample_rate_hz,
                "samples": len(message.samples),
            }
        case Notice():
            return {"notice": _foreign(message.body)}
        case Reserved():
            return {"type_id": message.type_id, "bytes": len(message.payload)}


def _trailer(trailer: Trailer | None) -> dict[str, int]:
    if trailer is None:
        return {}
    return {
        "sequence": trailer.sequence,
        "timestamp_us": trailer.timestamp_us,
        "interval_us": trailer.interval_us,
    }


def _metadata(metadata: Metadata) -> dict[str, Any]:
    return {column: getattr(metadata, column) for column in ("label", "kind", "depth", "cluster")}


def _foreign(value: Any) -> orjson.Fragment:
    """JSON from a peer: it may have integers beyond 64 bits and more levels than orjson accepts."""
    return orjson.Fragment(dump(value))


def _columns(records: npt.NDArray[np.void]) -> dict[str, npt.NDArray[Any]]:
    """One contiguous array for each field of a structured array."""
    return {name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()}
