"""JSON: one array of objects, or one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vfctl.capture.timeline import DecodedMessage
from vfctl.protocol import (
    CompactUpdate,
    Edges,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    Message,
    Metadata,
    NodeDrag,
    Nodes,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    Trailer,
    VoiceData,
    describe,
)

_NOT_FINITE = frozenset(("nan", "inf", "-inf"))


def write_ndjson(messages: Iterator[DecodedMessage], out: BinaryIO) -> None:
    """One object a line, each handed on at once: the recording may come live through a pipe."""
    for item in messages:
        out.write(to_json(item.message).encode() + b"\n")
        out.flush()


def write_json(messages: Iterator[DecodedMessage], out: BinaryIO) -> None:
    """One array of the same objects, closed whatever happens to the messages."""
    out.write(b"[")
    separator = b"\n"
    for item in messages:
        out.write(separator + to_json(item.message).encode())
        separator = b",\n"
    out.write(b"\n]\n")


def to_json(message: Message) -> str:
    """One message as a JSON object without line breaks: `type` first, then `flags`, then what the message has.

    float32 is printed with the fewest digits that round-trip as float32; what is not finite becomes null.
    """
    name, flags = describe(message)
    fields = {"type": json.dumps(name), "flags": dump([flag.name for flag in flags])}
    fields.update(_fields(message))
    return _object(fields.keys(), fields.values())


def dump(value: Any) -> str:
    """Compact JSON; NaN and the infinities (1e999 in a Notice is one) become null.

    What is nested so deeply that the interpreter cannot write it (hundreds of levels) becomes a text that says so.
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


def float32_texts(values: npt.NDArray[np.float32]) -> list[str]:
    """The fewest digits that round-trip as float32; `nan`, `inf` and `-inf` for the others."""
    return [str(value) for value in values]


def _fields(message: Message) -> dict[str, str]:
    """The fields behind `type` and `flags`, each as JSON text."""
    match message:
        case FullGraph():
            fields = {**_trailer(message.trailer), "count": str(len(message.nodes)), "nodes": _records(message.nodes)}
            fields["edges"] = _records(message.edges)
            if message.metadata is not None:
                fields["metadata"] = _metadata(message.metadata)
            return fields
        case PositionUpdate():
            return {**_trailer(message.trailer), "count": str(len(message.nodes)), "nodes": _records(message.nodes)}
        case CompactUpdate():
            return {**_trailer(message.trailer), "count": str(message.count), "bytes": str(len(message.section))}
        case NodeSelect():
            return {"node_id": dump(message.node_id)}
        case NodeDrag():
            x, y, z = _json_numbers(np.array([message.x, message.y, message.z], np.float32))
            return {"node_id": str(message.node_id), "x": x, "y": y, "z": z}
        case Heartbeat():
            fields = {"timestamp_us": str(message.timestamp_us)}
            if message.responder_timestamp_us is not None:
                fields["responder_timestamp_us"] = str(message.responder_timestamp_us)
            return fields
        case FilterUpdate():
            return {"filter": dump(message.filter.to_json())}
        case VoiceData():
            return {
                **_trailer(message.trailer),
                "stream": str(message.stream),
                "sample_rate_hz": str(message.sample_rate_hz),
                "samples": str(len(message.samples)),
            }
        case Notice():
            return {"notice": dump(message.body)}
        case Reserved():
            return {"type_id": str(message.type_id), "bytes": str(len(message.payload))}


def _trailer(trailer: Trailer | None) -> dict[str, str]:
    if trailer is None:
        return {}
    return {
        "sequence": str(trailer.sequence),
        "timestamp_us": str(trailer.timestamp_us),
        "interval_us": str(trailer.interval_us),
    }


def _metadata(metadata: Metadata) -> str:
    columns = ("label", "kind", "depth", "cluster")
    return dump({column: getattr(metadata, column) for column in columns})


def _object(keys: Iterable[str], values: Iterable[str]) -> str:
    return "{" + ",".join(f'"{key}":{value}' for key, value in zip(keys, values, strict=True)) + "}"


def _records(records: Nodes | Edges) -> str:
    """A structured array as a JSON array of objects, one a record, keyed by field."""
    names = records.dtype.names or ()
    columns = [_json_numbers(records[name]) for name in names]
    template = _record_template(names)
    return "[" + ",".join(template % row for row in zip(*columns, strict=True)) + "]"


@lru_cache
def _record_template(names: tuple[str, ...]) -> str:
    return _object(names, ("%s",) * len(names))


def _json_numbers(values: npt.NDArray[Any]) -> list[str]:
    if values.dtype.kind != "f":
        return list(map(str, values.tolist()))
    texts = float32_texts(values)
    if not np.isfinite(values).all():
        texts = ["null" if text in _NOT_FINITE else text for text in texts]
    return texts
