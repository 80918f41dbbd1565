"""Whatever the bytes: a message or a ProtocolError, in bounded memory. Whatever the message: itself again."""

from __future__ import annotations

import math
import struct
import tracemalloc
from pathlib import Path

import lz4.block
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

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
)

thorough = settings(max_examples=300, deadline=None, derandomize=True)

VALID = [path.read_bytes() for path in sorted((Path(__file__).parent.parent / "vectors").glob("*.bin"))]

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
float32 = st.floats(width=32, allow_nan=False)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
trailers = st.none() | st.builds(Trailer, u64, u64, u32)


@st.composite
def tables(draw: st.DrawFn, dtype: np.dtype, max_size: int = 6) -> np.ndarray:
    """Records of any bits at all, NaNs of every kind included."""
    count = draw(st.integers(0, max_size))
    return np.frombuffer(draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize)), dtype)


@st.composite
def full_graphs(draw: st.DrawFn) -> FullGraph:
    nodes = draw(tables(NODE_DTYPE))
    columns = (st.lists(values, min_size=len(nodes), max_size=len(nodes)) for values in (text, text, int32, int32))
    metadata = st.none() | st.builds(Metadata, *(column.map(tuple) for column in columns))
    return FullGraph(nodes, draw(tables(EDGE_DTYPE)), draw(metadata), draw(trailers), draw(st.booleans()))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
filters = st.builds(
    Filter,
    kinds=st.none() | st.frozensets(text, max_size=3),
    depth=st.none() | st.tuples(st.integers(), st.integers()),
    clusters=st.none() | st.frozensets(st.integers(), max_size=3),
    search=st.none() | text,
)
messages: st.SearchStrategy[Message] = st.one_of(
    full_graphs(),
    st.builds(PositionUpdate, tables(NODE_DTYPE), st.booleans(), trailers, st.booleans()),
    st.builds(CompactUpdate, st.integers(0, 9_000_000), st.binary(max_size=40), st.booleans(), trailers),
    st.builds(NodeSelect, st.none() | st.integers(0, 2**32 - 2)),
    st.builds(NodeDrag, u32, float32, float32, float32, st.booleans()),
    st.builds(Heartbeat, u64, st.none() | u64),
    st.builds(FilterUpdate, filters),
    st.builds(VoiceData, u32, u32, stn.arrays("<i2", st.integers(0, 20)), trailers),
    st.builds(lambda body, name: Notice(body | {"notice": name}), st.dictionaries(text, json_values, max_size=3), text),
    st.builds(Reserved, st.integers(0x09, 0x0F), st.binary(max_size=40)),
)


def decode_or_refuse(buffer: bytes) -> Message | None:
    """Decode; the only exception may be ProtocolError, with an offset within reach of the buffer."""
    try:
        return decode(buffer)
    except ProtocolError as error:
        if not 0 <= error.offset <= len(buffer):
            raise AssertionError(f"an offset beyond {len(buffer)} bytes") from error
        return None


@thorough
@given(messages)
def test_a_message_comes_back_as_it_was(message):
    encoded = encode(message)
    decoded = decode(encoded)
    assert decoded == message
    assert describe(decoded) == describe(message)
    assert type(decoded) is type(message)
    if not getattr(message, "compressed", False):
        assert encode(decoded) == encoded


@thorough
@given(st.lists(messages, max_size=4), st.integers(1, 50))
def test_messages_in_a_row_come_apart(row, piece):
    stream = b"".join(encode(message) for message in row)
    splitter = MessageSplitter()
    split = [out for at in range(0, len(stream), piece) for out in splitter.split(stream[at : at + piece])]
    assert [decode(out) for out in split] == row
    splitter.finish()


@thorough
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda rest: b"\x04" + rest))
def test_arbitrary_bytes(buffer):
    message = decode_or_refuse(buffer)
    assert message is None or decode(encode(message)) == message


@thorough
@given(st.integers(1, 15), st.integers(0, 63), st.integers(0, 255), st.binary(max_size=120))
def test_any_body_behind_a_good_header(type_id, flags, reserved, body):
    decode_or_refuse(bytes((4, type_id, flags, reserved)) + body)


@thorough
@given(
    st.sampled_from(VALID).filter(len),
    st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_damaged_messages(buffer, edits):
    damaged = bytearray(buffer)
    for at, new, removed in edits:
        at %= len(damaged) + 1
        damaged[at : at + removed] = new
    message = decode_or_refuse(bytes(damaged))
    if message is not None:
        describe(message)


@thorough
@given(st.sampled_from([6, 8]), st.binary(max_size=60) | st.text(max_size=60).map(lambda s: s.encode(errors="ignore")))
@example(6, b"[" * 20_000)
@example(8, b'{"notice":' * 3_000)
@example(8, b'{"notice":"x","n":' + b"9" * 5_000 + b"}")
@example(8, b'{"notice":"\\udc00"}')
@example(6, b'\xef\xbb\xbf{"search":"bom"}')
@example(6, b'{"kind":[' + b"1," * 1_000 + b"1]}")
def test_any_text_where_json_belongs(type_id, body):
    decode_or_refuse(struct.pack("<BBBBI", 4, type_id, 0, 0, len(body)) + body)


def peak_bytes(buffer: bytes) -> int:
    """The most memory that decoding takes at once."""
    tracemalloc.start()
    try:
        decode_or_refuse(buffer)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


huge = st.sampled_from([2**32 - 1, 2**31, 2**28 - 8, 9_586_980, 4_793_490, 2**24, 1020]) | u32


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 15), st.integers(0, 63), st.tuples(huge, huge, huge, huge))
def test_a_small_message_cannot_ask_for_much_memory(type_id, flags, sizes):
    buffer = struct.pack("<BBBBIIII", 4, type_id, flags, 0, *sizes)
    assert peak_bytes(buffer) < 100_000
    splitter = MessageSplitter()
    try:
        assert buffer.startswith(b"".join(splitter.split(buffer)))
    except ProtocolError:
        assert decode_or_refuse(buffer) is None


@pytest.mark.parametrize("type_and_flags", [b"\x02\x01", b"\x01\x01", b"\x01\x09"])
def test_an_lz4_bomb_unpacks_no_further_than_the_best_lz4_could(type_and_flags):
    raw = bytes(28 * 37_450)  # a megabyte of zeros in 4 kB
    block = lz4.block.compress(raw, store_size=False)
    assert len(block) < len(raw) / 200
    bomb = b"\x04" + type_and_flags + b"\x00" + struct.pack("<III", 37_450, len(raw), len(block)) + block
    assert peak_bytes(bomb) < 4 * len(raw)
    said_more = bytearray(bomb)
    count = len(block) * 255 // 28 + 1
    struct.pack_into("<II", said_more, 4, count, count * 28 + (type_and_flags[0] == 1) * 4)
    with pytest.raises(ProtocolError, match="expected at most"):
        decode(bytes(said_more))
    assert peak_bytes(bytes(said_more)) < 50_000


def test_a_block_that_hides_more_than_it_says_is_refused():
    block = lz4.block.compress(bytes(28 * 1000), store_size=False)
    message = b"\x04\x02\x01\x00" + struct.pack("<III", 1, 28, len(block)) + block
    assert decode_or_refuse(message) is None
    assert peak_bytes(message) < 50_000


def test_error_texts_stay_short():
    """A peer chooses the bytes; it must not choose how much of a log they fill."""
    for body in (b'{"' + b"k" * 100_000 + b'":1}', b'{"kind":"' + b"k" * 100_000 + b'"}', b"n" * 100_000):
        with pytest.raises(ProtocolError) as caught:
            decode(struct.pack("<BBBBI", 4, 6, 0, 0, len(body)) + body)
        assert len(str(caught.value)) < 300


@thorough
@given(u32, st.floats(width=32), st.floats(width=32))
def test_a_drag_keeps_every_float32(node_id, x, y):
    drag = decode(encode(NodeDrag(node_id, x, y, 0.0)))
    for sent, came in ((x, drag.x), (y, drag.y)):
        assert came == sent or (math.isnan(came) and math.isnan(sent))
        assert math.copysign(1, came) == math.copysign(1, sent) or math.isnan(sent)
