"""What the encoder refuses, so that whatever it does write can be read again."""

from __future__ import annotations

import numpy as np
import pytest

from vfctl.errors import ProtocolError
from vfctl.protocol import (
    EDGE_DTYPE,
    EVERYTHING,
    NODE_DTYPE,
    CompactUpdate,
    Filter,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    Metadata,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    Trailer,
    VoiceData,
    codec,
    decode,
    encode,
    wire,
)
from vfctl.protocol.wire import MAX_MESSAGE_BYTES

ONE_NODE = np.zeros(1, NODE_DTYPE)
NO_EDGES = np.zeros(0, EDGE_DTYPE)


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


UNWRITABLE = {
    "id above u32": NodeSelect(2**32),
    "negative id": NodeSelect(-1),
    "id that is no integer": NodeSelect(1.5),
    "the id that clears": NodeSelect(0xFFFFFFFF),
    "position beyond float32": NodeDrag(1, 1e39, 0.0, 0.0),
    "time above u64": Heartbeat(2**64),
    "interval above u32": PositionUpdate(ONE_NODE, trailer=Trailer(0, 0, 2**32)),
    "no array of nodes": PositionUpdate(np.zeros(7, np.float32)),
    "two dimensions": PositionUpdate(np.zeros((1, 1), NODE_DTYPE)),
    "big-endian nodes": PositionUpdate(ONE_NODE.astype(NODE_DTYPE.newbyteorder(">"))),
    "float samples": VoiceData(0, 48_000, np.zeros(1, np.float32)),
    "too few labels": FullGraph(ONE_NODE, NO_EDGES, Metadata((), ("class",), (0,), (0,))),
    "a label that is no text": FullGraph(ONE_NODE, NO_EDGES, Metadata((1,), ("class",), (0,), (0,))),
    "a depth above int32": FullGraph(ONE_NODE, NO_EDGES, Metadata(("a",), ("class",), (2**31,), (0,))),
    "a depth that is a float": FullGraph(ONE_NODE, NO_EDGES, Metadata(("a",), ("class",), (0.5,), (0,))),
    "a notice without its name": Notice({"text": "x"}),
    "a notice whose name is no text": Notice({"notice": 1}),
    "infinity in JSON": Notice({"notice": "x", "value": float("inf")}),
    "NaN in JSON": Notice({"notice": "x", "value": float("nan")}),
    "what JSON does not know": Notice({"notice": "x", "value": np.int32(1)}),
    "half a surrogate pair": Notice({"notice": "\ud800"}),
    "nested beyond reason": Notice({"notice": "x", "value": nested(100_000)}),
    "a type that has a meaning": Reserved(0x08, b""),
    "a type beyond the last": Reserved(0x10, b""),
    "a payload of text": Reserved(0x09, "text"),
    "a negative count": CompactUpdate(-1, b""),
}


@pytest.mark.parametrize("what", UNWRITABLE)
def test_what_does_not_fit_is_a_value_error(what):
    with pytest.raises(ValueError, match=r"\w"):
        encode(UNWRITABLE[what])


def test_an_empty_search_is_no_criterion():
    assert Filter(search="") == EVERYTHING
    assert Filter(search="").is_everything
    assert decode(encode(FilterUpdate(Filter(search="")))) == FilterUpdate(Filter(search=""))


def test_a_number_beyond_a_float_is_read_but_never_written():
    text = b'{"notice":"x","value":1e999}'
    notice = decode(b"\x04\x08\x00\x00" + len(text).to_bytes(4, "little") + text)
    assert notice == Notice({"notice": "x", "value": float("inf")})
    with pytest.raises(ValueError, match="Notice: Out of range float"):
        encode(notice)


@pytest.fixture
def small_limit(monkeypatch) -> int:
    """The limit is checked in two modules; a small one spares the test a quarter of a gigabyte."""
    limit = 1000
    monkeypatch.setattr(codec, "MAX_MESSAGE_BYTES", limit)
    monkeypatch.setattr(wire, "MAX_MESSAGE_BYTES", limit)
    return limit


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("count", [35, 36])
def test_the_encoder_writes_what_the_decoder_takes(small_limit, count, compressed):
    message = PositionUpdate(np.zeros(count, NODE_DTYPE), compressed=compressed)
    if 8 + 28 * count <= small_limit:
        assert decode(encode(message)) == message
    else:
        with pytest.raises(ValueError, match="at most 1000"):
            encode(message)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_compressed_graph_is_bounded_by_what_it_unpacks_to(small_limit, compressed):
    message = FullGraph(ONE_NODE, np.zeros(90, EDGE_DTYPE), compressed=compressed)
    with pytest.raises(ValueError, match="at most 1000"):
        encode(message)


@pytest.mark.parametrize(("type_byte", "flags"), [(1, 0x04), (2, 0x04), (2, 0x05), (2, 0x06)])
def test_the_trailer_counts_towards_the_limit(small_limit, type_byte, flags):
    sizes = {  # all that is there, but for the last byte, is allowed
        0x04: (35).to_bytes(4, "little"),  # 988 bytes and a trailer
        0x05: (1).to_bytes(4, "little") + (28).to_bytes(4, "little") + (970).to_bytes(4, "little"),
        0x06: (1).to_bytes(4, "little") + (985).to_bytes(4, "little"),
    }
    buffer = bytes((4, type_byte, flags, 0)) + sizes[flags] + bytes(980) + bytes(4)
    with pytest.raises(ProtocolError, match="at most 1000"):
        decode(buffer)


def test_the_real_limit_holds_without_reading_on():
    count = (MAX_MESSAGE_BYTES - 8) // 28 + 1
    with pytest.raises(ProtocolError, match="at most") as caught:
        decode(b"\x04\x02\x00\x00" + count.to_bytes(4, "little"))
    assert caught.value.offset == 4
