"""The bytes of V4, written by hand from the description, and what its sizes must be."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import lz4.block
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
    Metadata,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    Trailer,
    VoiceData,
    decode,
    encode,
)

NODE = np.array([(0x01020304, 1.0, -2.0, 0.5, 0.0, -0.0, 1.5)], NODE_DTYPE)
NODE_HEX = "04030201 0000803f 000000c0 0000003f 00000000 00000080 0000c03f"
EDGE = np.array([(1, 2, 1.0)], EDGE_DTYPE)
TRAILER = Trailer(1, 2, 50_000)
TRAILER_HEX = "0100000000000000 0200000000000000 50c30000"

BY_HAND = {
    "PositionUpdate": (PositionUpdate(NODE), f"04 02 00 00 01000000 {NODE_HEX}"),
    "PositionUpdate settled": (PositionUpdate(NODE, settled=True), f"04 02 20 00 01000000 {NODE_HEX}"),
    "PositionUpdate timed": (PositionUpdate(NODE, trailer=TRAILER), f"04 02 04 00 01000000 {NODE_HEX} {TRAILER_HEX}"),
    "PositionUpdate empty": (PositionUpdate(NODE[:0]), "04 02 00 00 00000000"),
    "FullGraph": (FullGraph(NODE, EDGE), f"04 01 00 00 01000000 {NODE_HEX} 01000000 01000000 02000000 0000803f"),
    "FullGraph timed with metadata": (
        FullGraph(NODE[:0], EDGE[:0], Metadata((), (), (), ()), TRAILER),
        # {"label":[],"kind":[],"depth":[],"cluster":[]}
        "04 01 0c 00 00000000 00000000 2e000000 7b226c6162656c223a5b5d2c226b696e64223a5b5d2c2264657074"
        f"68223a5b5d2c22636c7573746572223a5b5d7d {TRAILER_HEX}",
    ),
    "COMPACT": (CompactUpdate(3, b"\xaa\xbb"), "04 02 02 00 03000000 02000000 aabb"),
    "NodeSelect": (NodeSelect(256), "04 03 00 00 00010000"),
    "NodeSelect cleared": (NodeSelect(None), "04 03 00 00 ffffffff"),
    "NodeDrag": (NodeDrag(5, 1.0, -2.0, 0.5), "04 04 00 00 05000000 0000803f 000000c0 0000003f"),
    "NodeDrag released": (NodeDrag(5, 1.0, -2.0, 0.5, True), "04 04 10 00 05000000 0000803f 000000c0 0000003f"),
    "Heartbeat": (Heartbeat(0x0102030405060708), "04 05 00 00 0807060504030201"),
    "Heartbeat answered": (Heartbeat(1, 2), "04 05 10 00 0100000000000000 0200000000000000"),
    "FilterUpdate cleared": (FilterUpdate(Filter()), "04 06 00 00 02000000 7b7d"),
    "FilterUpdate": (FilterUpdate(Filter(depth=(0, 3))), "04 06 00 00 0f000000 7b226465707468223a5b302c335d7d"),
    "VoiceData": (
        VoiceData(0, 48_000, np.array([1, -1], "<i2")),
        "04 07 00 00 00000000 80bb0000 02000000 0100 ffff",
    ),
    "VoiceData timed": (
        VoiceData(9, 48_000, np.array([1], "<i2"), TRAILER),
        f"04 07 04 00 09000000 80bb0000 01000000 0100 {TRAILER_HEX}",
    ),
    "Notice": (Notice({"notice": "x"}), "04 08 00 00 0e000000 7b226e6f74696365223a2278227d"),
    "Reserved": (Reserved(15, b"\x01"), "04 0f 00 00 01000000 01"),
}


@pytest.mark.parametrize("what", BY_HAND)
def test_encode(what):
    message, expected = BY_HAND[what]
    assert encode(message).hex(" ") == bytes.fromhex(expected).hex(" ")


@pytest.mark.parametrize("what", BY_HAND)
def test_decode(what):
    message, given = BY_HAND[what]
    assert decode(bytes.fromhex(given)) == message


def test_a_compressed_update_is_one_shuffled_lz4_block():
    nodes = np.zeros(40, NODE_DTYPE)
    nodes["id"] = np.arange(40)
    nodes["x"] = 1.0
    encoded = encode(PositionUpdate(nodes, trailer=TRAILER, compressed=True))
    assert encoded[:8].hex(" ") == "04 02 05 00 28 00 00 00"
    raw_length, block_length = struct.unpack_from("<II", encoded, 8)
    assert raw_length == 1120
    assert encoded[16 + block_length :].hex() == TRAILER_HEX.replace(" ", "")
    block = lz4.block.decompress(encoded[16 : 16 + block_length], uncompressed_size=raw_length)
    # All first bytes, then all second ones, …: the ids' lowest bytes, three times 40 zeros, then those of x.
    assert block[:40] == bytes(range(40))
    assert block[40:160] == bytes(120)
    assert block[160:320] == bytes(80) + b"\x80" * 40 + b"\x3f" * 40
    assert block[320:] == bytes(800)


def test_of_a_compressed_graph_only_the_nodes_are_shuffled():
    metadata = Metadata(("a",), ("class",), (0,), (0,))
    encoded = encode(FullGraph(NODE, EDGE, metadata, compressed=True))
    raw_length, block_length = struct.unpack_from("<II", encoded, 8)
    assert len(encoded) == 16 + block_length
    block = lz4.block.decompress(encoded[16:], uncompressed_size=raw_length)
    assert block[:28] == bytes.fromhex(NODE_HEX)  # one node: its shuffle is itself
    assert block[28:44] == bytes.fromhex("01000000 01000000 02000000 0000803f")
    text = b'{"label":["a"],"kind":["class"],"depth":[0],"cluster":[0]}'
    assert block[44:] == len(text).to_bytes(4, "little") + text


@pytest.mark.parametrize(("count", "size"), [(10_000, 280_008), (316, 8_856), (0, 8)])
def test_sizes_of_the_description(count, size):
    nodes = np.zeros(count, NODE_DTYPE)
    assert len(encode(PositionUpdate(nodes))) == size
    assert len(encode(PositionUpdate(nodes, trailer=TRAILER))) == size + 20
    assert len(encode(FullGraph(nodes, np.zeros(7, EDGE_DTYPE)))) == size + 4 + 7 * 12


def test_arrays_view_the_buffer():
    buffer = encode(FullGraph(NODE, EDGE, None, TRAILER))
    graph = decode(buffer)
    whole = np.frombuffer(buffer, np.uint8)
    assert np.shares_memory(graph.nodes, whole)
    assert np.shares_memory(graph.edges, whole)
    voice = encode(VoiceData(0, 48_000, np.ones(3, "<i2")))
    assert np.shares_memory(decode(voice).samples, np.frombuffer(voice, np.uint8))
    update = encode(PositionUpdate(NODE))
    nodes = decode(update).nodes
    assert np.shares_memory(nodes, np.frombuffer(update, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        nodes["x"] = 0


def test_arrays_of_any_layout_can_be_encoded():
    spread = np.zeros(6, NODE_DTYPE)
    spread["id"] = np.arange(6)
    assert decode(encode(PositionUpdate(spread[::2]))).nodes["id"].tolist() == [0, 2, 4]


def test_not_a_number_travels_and_equals_itself():
    nodes = NODE.copy()
    nodes["x"], nodes["vx"] = np.nan, np.inf
    message = PositionUpdate(nodes)
    assert decode(encode(message)) == message
    assert message != PositionUpdate(NODE)
    assert message != SimpleNamespace(nodes=nodes)


def block_message(type_and_flags: bytes, count: int, raw: bytes, said: int | None = None) -> bytes:
    block = lz4.block.compress(raw, store_size=False)
    raw_length = len(raw) if said is None else said
    return b"\x04" + type_and_flags + b"\x00" + struct.pack("<III", count, raw_length, len(block)) + block


@pytest.mark.parametrize(
    ("what", "message", "says"),
    [
        ("edges", block_message(b"\x01\x01", 0, b"\x09\0\0\0" + bytes(12)), "9 edges in 12 bytes"),
        ("rest", block_message(b"\x01\x01", 0, b"\x01\0\0\0" + bytes(15)), "3 bytes behind the edges"),
        ("no metadata", block_message(b"\x01\x09", 0, bytes(4)), "0 bytes of metadata"),
        ("metadata cut", block_message(b"\x01\x09", 0, bytes(4) + b"\x05\0\0\0{}"), "6 bytes of metadata, expected 9"),
        ("metadata not JSON", block_message(b"\x01\x09", 0, bytes(4) + b"\x02\0\0\0{]"), "not JSON"),
        ("metadata not UTF-8", block_message(b"\x01\x09", 0, bytes(4) + b"\x02\0\0\0{\xff"), "not UTF-8"),
        ("metadata of two", block_message(b"\x01\x09", 0, bytes(4) + b"\x02\0\0\0[]"), "columns"),
        ("longer than said", block_message(b"\x02\x01", 1, bytes(56), 28), "damaged LZ4 block|holds"),
        ("shorter than said", block_message(b"\x02\x01", 2, bytes(28), 56), "holds 28 bytes, expected 56"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_whatever_is_wrong_inside_a_block_is_blamed_on_the_block(what, message, says):
    with pytest.raises(ProtocolError, match=says) as caught:
        decode(message)
    assert caught.value.offset == 16
