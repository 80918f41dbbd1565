"""docs/protocol.md: its frame, its shuffle and the fields of the golden vectors are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import lz4.block
import numpy as np

from vfctl.protocol import NODE_DTYPE, PositionUpdate, Trailer, decode, encode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text("utf-8")
VECTORS = ROOT / "tests" / "vectors"


def one_node() -> PositionUpdate:
    nodes = np.zeros(1, NODE_DTYPE)
    nodes[0] = (7, 1.5, -2.25, 0.5, 0, 0, -1)
    return PositionUpdate(nodes, True, Trailer(41, 1_769_688_000_123_456, 50_000))


def test_the_frame_is_what_the_codec_makes() -> None:
    lines = re.findall(r"^([0-9a-f]{2})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})  +\S", PAGE, re.MULTILINE)
    frame = bytearray()
    for offset, text in lines:
        assert int(offset, 16) == len(frame)
        frame += bytes.fromhex(text)
    assert frame == encode(one_node())
    assert decode(frame) == one_node()


def test_the_shuffle_has_the_direction_that_the_page_says() -> None:
    nodes = np.frombuffer(np.random.default_rng(0).bytes(5 * 28), NODE_DTYPE)
    message = encode(PositionUpdate(nodes, compressed=True))
    raw_length, length = np.frombuffer(message, "<u4", 2, 8).tolist()
    shuffled = lz4.block.decompress(message[16 : 16 + length], uncompressed_size=raw_length)
    plain = nodes.tobytes()
    assert all(shuffled[k * 5 + i] == plain[i * 28 + k] for k in range(28) for i in range(5))


def keys_of(value: object) -> set[str]:
    if isinstance(value, dict):
        opaque = {"filter", "notice", "metadata", "section"}
        return set(value).union(*(keys_of(inner) for key, inner in value.items() if key not in opaque))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


def test_every_key_of_the_golden_vectors_is_described() -> None:
    section = PAGE[PAGE.index("## The golden vectors") : PAGE.index("## Where the original description")]
    documented = set(re.findall(r"`(\w+)`", section))
    used = set().union(*(keys_of(json.loads(path.read_text("utf-8"))) for path in VECTORS.rglob("*.json")))
    assert used <= documented
