"""V4 messages to bytes and back, with compression. Stateless: the bytes of one message in, one message out."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import lz4.block
import numpy as np

from vfctl.errors import ProtocolError
from vfctl.protocol.filter import Filter
from vfctl.protocol.messages import (
    TYPE_IDS,
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
from vfctl.protocol.wire import (
    COMPRESSION,
    EDGE_DTYPE,
    FIRST_RESERVED_TYPE,
    HEADER,
    LAST_RESERVED_TYPE,
    MAX_MESSAGE_BYTES,
    NO_NODE,
    NODE_DRAG,
    NODE_DTYPE,
    SAMPLE_DTYPE,
    TRAILER,
    U32,
    VERSION,
    VOICE,
    Buffer,
    Flag,
    MessageType,
    measure,
)

_U64 = struct.Struct("<Q")
_METADATA_COLUMNS = ("label", "kind", "depth", "cluster")
_INT32 = range(-(2**31), 2**31)


def encode(message: Message) -> bytes:
    """Encode one message.

    Raises:
        ValueError: a field is out of range or has another dtype, so that `decode` would not return it.
    """
    return b"".join(encode_parts(message))


def encode_parts(message: Message) -> tuple[Buffer, ...]:
    """Encode one message in pieces, without a copy of the nodes.

    The last piece of a message that can be TIMED is the trailer. It is empty without TIMED.

    Raises:
        ValueError: as for `encode`.
    """
    try:
        parts = _encode(message)
        _check_size(sum(map(len, parts)))
    except (struct.error, OverflowError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{type(message).__name__}: {error}") from None
    return parts


def decode(buffer: Buffer) -> Message:
    """Decode one message, which must be all of `buffer`.

    Node, edge and sample arrays are views of `buffer`, unless COMPRESSED. Do not change it while they are in use. A
    COMPACT section is returned as bytes.

    Raises:
        ProtocolError: the bytes are not one well-formed message. No other exception, for any bytes.
    """
    needed, whole = measure(buffer)
    if not whole or len(buffer) < needed:
        least = "" if whole else "at least "
        raise ProtocolError(f"the message ends here, expected {least}{needed} bytes", offset=len(buffer))
    if len(buffer) > needed:
        raise ProtocolError(f"{len(buffer) - needed} bytes too many, expected the end", offset=needed)
    _, type_id, flag_bits, _ = HEADER.unpack_from(buffer)
    flags = Flag(flag_bits)
    match type_id:
        case MessageType.POSITION_UPDATE if Flag.COMPACT in flags:
            return _decode_compact(buffer, flags)
        case MessageType.POSITION_UPDATE:
            return _decode_position_update(buffer, flags)
        case MessageType.FULL_GRAPH:
            return _decode_full_graph(buffer, flags)
        case MessageType.NODE_SELECT:
            (node_id,) = U32.unpack_from(buffer, 4)
            return NodeSelect(None if node_id == NO_NODE else node_id)
        case MessageType.NODE_DRAG:
            node_id, x, y, z = NODE_DRAG.unpack_from(buffer, 4)
            return NodeDrag(node_id, x, y, z, Flag.FINAL in flags)
        case MessageType.HEARTBEAT:
            (timestamp_us,) = _U64.unpack_from(buffer, 4)
            return Heartbeat(timestamp_us, _U64.unpack_from(buffer, 12)[0] if Flag.FINAL in flags else None)
        case MessageType.VOICE_DATA:
            stream, sample_rate_hz, count = VOICE.unpack_from(buffer, 4)
            samples = np.frombuffer(buffer, SAMPLE_DTYPE, count, 16)
            return VoiceData(stream, sample_rate_hz, samples, _decode_trailer(buffer, flags))
        case MessageType.FILTER_UPDATE:
            try:
                return FilterUpdate(Filter.from_json(_decode_json(memoryview(buffer)[8:], 8)))
            except ValueError as error:
                raise ProtocolError(str(error), offset=8) from None
        case MessageType.NOTICE:
            body = _decode_json(memoryview(buffer)[8:], 8)
            try:
                _check_notice(body)
            except ValueError as error:
                raise ProtocolError(str(error), offset=8) from None
            return Notice(body)
        case _:
            return Reserved(type_id, bytes(memoryview(buffer)[8:]))


def _encode(message: Message) -> tuple[Buffer, ...]:
    if isinstance(message, Reserved):
        if not FIRST_RESERVED_TYPE <= message.type_id <= LAST_RESERVED_TYPE:
            raise ValueError(f"type 0x{message.type_id:02x} is not a reserved one")
        return HEADER.pack(VERSION, message.type_id, 0, 0), _sized(message.payload)
    _, flags = describe(message)
    header = HEADER.pack(VERSION, TYPE_IDS[type(message)], flags, 0)
    match message:
        case PositionUpdate():
            if message.compact:
                raise ValueError("COMPACT needs the states before it; use a CompactEncoder")
            return header, *_node_section(message), _encode_trailer(message.trailer)
        case CompactUpdate():
            _check_size(8 + message.count * NODE_DTYPE.itemsize)
            section = U32.pack(message.count) + _sized(message.section)
            return header, section, _encode_trailer(message.trailer)
        case FullGraph():
            rest = _edge_section(message)
            return header, *_node_section(message, rest), _encode_trailer(message.trailer)
        case NodeSelect(node_id=node_id):
            if node_id == NO_NODE:
                raise ValueError(f"id {NO_NODE} clears the selection, which is None here")
            return header, U32.pack(NO_NODE if node_id is None else node_id)
        case NodeDrag():
            return header, NODE_DRAG.pack(message.node_id, message.x, message.y, message.z)
        case Heartbeat(responder_timestamp_us=None):
            return header, _U64.pack(message.timestamp_us)
        case Heartbeat():
            return header, _U64.pack(message.timestamp_us), _U64.pack(message.responder_timestamp_us)
        case FilterUpdate():
            return header, _encode_json(message.filter.to_json())
        case Notice():
            _check_notice(message.body)
            return header, _encode_json(message.body)
        case VoiceData():
            samples = _array_bytes(message.samples, SAMPLE_DTYPE)
            voice = VOICE.pack(message.stream, message.sample_rate_hz, len(message.samples))
            return header, voice, samples, _encode_trailer(message.trailer)


def _node_section(message: FullGraph | PositionUpdate, rest: bytes = b"") -> tuple[Buffer, ...]:
    """Node count, nodes and `rest`, the latter two as one LZ4 block if the message is compressed."""
    count = U32.pack(len(message.nodes))
    nodes = _array_bytes(message.nodes, NODE_DTYPE)
    if not message.compressed:
        return count, nodes, rest
    _check_size(8 + len(nodes) + len(rest))
    block = compress(nodes, rest)
    return count, COMPRESSION.pack(len(nodes) + len(rest), len(block)), block


def _edge_section(message: FullGraph) -> bytes:
    section = b"".join((U32.pack(len(message.edges)), _array_bytes(message.edges, EDGE_DTYPE)))
    if message.metadata is None:
        return section
    columns = {column: list(getattr(message.metadata, column)) for column in _METADATA_COLUMNS}
    for column, values in columns.items():
        _check_column(column, values, len(message.nodes))
    return section + _encode_json(columns)


def _check_size(size: int) -> None:
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"{size} bytes, at most {MAX_MESSAGE_BYTES} fit into a message")


def _check_notice(body: object) -> None:
    if not isinstance(body, Mapping) or not isinstance(body.get("notice"), str):
        raise ValueError('a notice without its name, expected {"notice": "…", …}')


def _check_column(column: str, values: object, count: int) -> None:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"metadata column {column!r} is not a list of {count} entries")
    if column in ("label", "kind"):
        what, fits = "texts", all(type(value) is str for value in values)
    else:
        what, fits = "32-bit integers", all(type(value) is int and value in _INT32 for value in values)
    if not fits:
        raise ValueError(f"metadata column {column!r} holds other things than {what}")


def _decode_position_update(buffer: Buffer, flags: Flag) -> PositionUpdate:
    (count,) = U32.unpack_from(buffer, 4)
    compressed = Flag.COMPRESSED in flags
    if compressed:
        nodes = np.frombuffer(_inflate(buffer, count), NODE_DTYPE, count)
    else:
        nodes = np.frombuffer(buffer, NODE_DTYPE, count, 8)
    return PositionUpdate(nodes, Flag.SETTLED in flags, _decode_trailer(buffer, flags), compressed)


def _decode_compact(buffer: Buffer, flags: Flag) -> CompactUpdate:
    count, length = COMPRESSION.unpack_from(buffer, 4)
    section = bytes(memoryview(buffer)[12 : 12 + length])
    return CompactUpdate(count, section, Flag.SETTLED in flags, _decode_trailer(buffer, flags))


def _decode_full_graph(buffer: Buffer, flags: Flag) -> FullGraph:
    (count,) = U32.unpack_from(buffer, 4)
    trailer = _decode_trailer(buffer, flags)
    compressed = Flag.COMPRESSED in flags
    content: Buffer
    if compressed:
        content, position = _inflate(buffer, count), 0
        end = len(content)
    else:
        content, position = buffer, 8
        end = len(buffer) - (TRAILER.size if trailer else 0)
    # An uncompressed message has been measured, so its parts are there. The content of a block is checked here.
    nodes = np.frombuffer(content, NODE_DTYPE, count, position)
    position += nodes.nbytes
    (edge_count,) = U32.unpack_from(content, position)
    position += 4
    if edge_count * EDGE_DTYPE.itemsize > end - position:
        raise ProtocolError(f"{edge_count} edges in {end - position} bytes of the LZ4 block", offset=16)
    edges = np.frombuffer(content, EDGE_DTYPE, edge_count, position)
    position += edges.nbytes
    metadata = None
    if Flag.METADATA in flags:
        length = U32.unpack_from(content, position)[0] if end - position >= 4 else -1
        if length != end - position - 4:
            raise ProtocolError(f"{end - position} bytes of metadata, expected {length + 4}", offset=16)
        try:
            metadata = _decode_metadata(memoryview(content)[position + 4 : end], count, position + 4)
        except ProtocolError as error:
            if compressed:  # offsets inside the block mean nothing to a reader of the message
                raise ProtocolError(error.reason, offset=16) from None
            raise
    elif position != end:
        raise ProtocolError(f"{end - position} bytes behind the edges of the LZ4 block", offset=16)
    return FullGraph(nodes, edges, metadata, trailer, compressed)


def _inflate(buffer: Buffer, count: int) -> bytes:
    raw_length, compressed_length = COMPRESSION.unpack_from(buffer, 8)
    block = memoryview(buffer)[16 : 16 + compressed_length]
    return decompress(block, raw_length, count * NODE_DTYPE.itemsize, offset=16)


def _decode_metadata(text: memoryview, count: int, offset: int) -> Metadata:
    columns = _decode_json(text, offset)
    if not isinstance(columns, dict) or set(columns) != set(_METADATA_COLUMNS):
        raise ProtocolError(f"metadata without just the columns {', '.join(_METADATA_COLUMNS)}", offset=offset)
    try:
        for column in _METADATA_COLUMNS:
            _check_column(column, columns[column], count)
    except ValueError as error:
        raise ProtocolError(str(error), offset=offset) from None
    return Metadata(**{column: tuple(columns[column]) for column in _METADATA_COLUMNS})


def _decode_json(text: memoryview, offset: int) -> Any:
    """Parse UTF-8 JSON. Lone surrogates are refused, because they cannot be encoded again.

    A number beyond a float (1e999) is valid JSON and becomes infinite, as in every other reader. `encode` refuses it.
    """
    try:
        decoded = str(text, "utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"not UTF-8 ({error.reason}), expected JSON text", offset=offset + error.start) from None
    try:
        value = json.loads(decoded, parse_constant=_refuse_constant)
        if "\\u" in decoded:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        at = offset + len(decoded[: error.pos].encode())
        raise ProtocolError(f"not JSON ({error.msg})", offset=at) from None
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"JSON that cannot be read ({error})", offset=offset) from None
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _decode_trailer(buffer: Buffer, flags: Flag) -> Trailer | None:
    if Flag.TIMED not in flags:
        return None
    return Trailer(*TRAILER.unpack_from(buffer, len(buffer) - TRAILER.size))


def _encode_trailer(trailer: Trailer | None) -> bytes:
    if trailer is None:
        return b""
    return TRAILER.pack(trailer.sequence, trailer.timestamp_us, trailer.interval_us)


def _encode_json(value: Mapping[str, Any]) -> bytes:
    return _sized(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())


def _sized(payload: bytes) -> bytes:
    return U32.pack(len(payload)) + payload


def _array_bytes(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> Buffer:
    if array.dtype != dtype or array.ndim != 1:
        raise ValueError(f"array of {array.dtype} {list(array.shape)}, expected one dimension of {dtype}")
    return np.ascontiguousarray(array).view(np.uint8).data


_STRIDE = NODE_DTYPE.itemsize


def compress(node_bytes: Buffer, rest: bytes = b"") -> bytes:
    """Make one LZ4 block of the shuffled nodes and the unshuffled rest.

    LZ4 alone does not compress these frames, because floats of neighbouring nodes share no runs of bytes. The shuffle
    (as in Blosc and HDF5) puts the first bytes of all nodes together, then all second ones, and so on.

    Args:
        node_bytes: whole 28-byte records.
        rest: edges and metadata of a FullGraph, with their counts.
    """
    rows = np.frombuffer(node_bytes, np.uint8).reshape(-1, _STRIDE)
    return bytes(lz4.block.compress(rows.T.tobytes() + rest, store_size=False))


def decompress(block: memoryview, raw_length: int, node_bytes: int, *, offset: int) -> bytes:
    """Undo `compress`: return the nodes and then the rest.

    Args:
        block: the LZ4 block.
        raw_length: its decompressed length, which the caller has bounded.
        node_bytes: how many of these bytes are nodes.
        offset: position of the block in its message, for the error.

    Raises:
        ProtocolError: not an LZ4 block, or one of another length.
    """
    try:
        raw = bytes(lz4.block.decompress(block, uncompressed_size=raw_length))
    except (lz4.block.LZ4BlockError, ValueError) as error:
        raise ProtocolError(f"damaged LZ4 block of {len(block)} bytes ({error})", offset=offset) from None
    if len(raw) != raw_length:
        raise ProtocolError(f"LZ4 block holds {len(raw)} bytes, expected {raw_length}", offset=offset)
    shuffled = np.frombuffer(raw, np.uint8, node_bytes).reshape(_STRIDE, -1)
    return shuffled.T.tobytes() + raw[node_bytes:]
