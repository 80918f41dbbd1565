"""Damaged messages of every encoding, a million of them: each must be decoded or end in a ProtocolError.

    python benchmarks/mutations.py [--mutations N] [--seed N]

A stream of FullGraph, raw, lz4 and COMPACT messages is damaged one message at a time: bits flipped, bytes replaced, cut
or inserted, messages swapped or repeated, and, since a CRC-32 catches nearly all of that, COMPACT sections damaged and
sealed again. Prints how many of each were decoded and refused; anything else is a traceback, and exit code 1.
"""

from __future__ import annotations

import argparse
import sys
import traceback
import zlib
from collections import Counter

import numpy as np

from vfctl.errors import ProtocolError
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    FullGraph,
    Metadata,
    PositionDecoder,
    PositionUpdate,
    Trailer,
    View,
    decode,
    encode,
    positions_of,
)

KINDS = ("flip", "replace", "cut", "insert", "extreme", "foreign", "sealed")
CHECK_AT = 12 + 8
"""Where the CRC-32 stands in a COMPACT message."""


def stream(count: int, random: np.random.Generator) -> list[bytes]:
    """A connection's messages: two graphs, then updates in all encodings, moving and at rest, with two key frames."""
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["id"] = random.permutation(count * 3)[:count]
    for axis in "xyz":
        nodes[axis] = random.normal(0, 100, count)
        nodes[f"v{axis}"] = random.normal(0, 0.5, count)
    edges = np.zeros(count, EDGE_DTYPE)
    edges["source"], edges["target"] = nodes["id"], nodes["id"][::-1]
    labels = tuple(f"node {index}" for index in range(count))
    metadata = Metadata(labels, ("class",) * count, (0,) * count, (1,) * count)
    messages = [encode(FullGraph(nodes, edges, metadata, Trailer(1, 2, 3), compressed=True))]
    messages.append(encode(FullGraph(nodes, edges)))
    encoder, view, history = CompactEncoder(9), View(nodes["id"]), None
    for number, ticks in enumerate([0, 3, 3, 4, 2, 50, 1, 0, 3, 3]):
        nodes = nodes.copy()
        for axis in "xyz":
            nodes[f"v{axis}"] += random.normal(0, 0.05, count)
            nodes[axis] += ticks * nodes[f"v{axis}"]
        if ticks:
            nodes["x"][number] = np.nan if number == 2 else 500.0 * number
        trailer = Trailer(number, 2, 3) if number % 2 else None
        encoder.push(encoder.position + ticks if number else 0, positions_of(nodes))
        section, history = encoder.section(view, None if number == 6 else history)
        messages.append(encode(CompactUpdate(count, section, False, trailer)))
        messages.append(encode(PositionUpdate(nodes, False, trailer, compressed=number % 3 == 0)))
    return messages


def is_compact(message: bytes) -> bool:
    """Whether a message is a PositionUpdate with a COMPACT section."""
    return message[1] == 2 and bool(message[2] & 0x02)


def mutated(message: bytes, kind: str, random: np.random.Generator, others: list[bytes], ids_crc: int) -> bytes:
    """A damaged copy."""
    data = bytearray(message)
    at = int(random.integers(len(data)))
    match kind:
        case "flip":
            for _ in range(int(random.integers(1, 4))):
                data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
        case "replace":
            data[at] = int(random.integers(256))
        case "cut":
            del data[at : at + int(random.integers(1, 64))]
        case "insert":
            data[at:at] = random.bytes(int(random.integers(1, 32)))
        case "extreme":
            at = int(random.integers(4, 60))
            data[at : at + 4] = int(random.choice([0, 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
        case "foreign":
            return others[int(random.integers(len(others)))]
        case "sealed":
            return resealed(data, random, ids_crc)
    return bytes(data)


def resealed(data: bytearray, random: np.random.Generator, ids_crc: int) -> bytes:
    """A COMPACT section with bytes replaced, cut or added behind its CRC-32, which is then made right again."""
    length = int.from_bytes(data[8:12], "little")
    section, trailer = data[12 : 12 + length], data[12 + length :]
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(4, len(section)))
        match int(random.integers(4)):
            case 0:
                section[at] ^= 1 << int(random.integers(8))
            case 1:
                section[at : at + 1] = random.bytes(int(random.integers(0, 3)))
            case 2:
                section[at : at + 4] = random.bytes(4)
            case 3:
                del section[max(17, at) :]
        section += bytes(max(0, 16 - len(section)))
    crc = zlib.crc32(section[12:], zlib.crc32(section[:8], ids_crc))
    section[8:12] = crc.to_bytes(4, "little")
    return bytes(data[:8] + len(section).to_bytes(4, "little") + section + trailer)


def run(mutations: int, seed: int = 0) -> Counter[tuple[str, str]]:
    """Damage and decode; how often each kind of damage was `decoded` and `refused`. What else is raised comes out."""
    random = np.random.default_rng(seed)
    counts: Counter[tuple[str, str]] = Counter()
    streams = [stream(count, random) for count in (11, 70)]
    per_place = -(-mutations // sum(len(messages) - 1 for messages in streams))
    for messages in streams:
        decoder = PositionDecoder()
        ids_crc = zlib.crc32(decode(messages[0]).nodes["id"].astype("<u4").tobytes())
        for place, message in enumerate(messages):
            for _ in range(per_place if place else 0):
                kind = KINDS[int(random.integers(len(KINDS) if is_compact(message) else len(KINDS) - 1))]
                try:
                    damaged = decode(mutated(message, kind, random, messages, ids_crc))
                    if isinstance(damaged, CompactUpdate):
                        before = decoder.__dict__.copy()
                        decoder.decode(damaged)
                        decoder.__dict__.update(before)
                    counts[kind, "decoded"] += 1
                except ProtocolError:
                    counts[kind, "refused"] += 1
            decoder.decode(decode(message))  # a refused message has changed nothing
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        counts = run(options.mutations, options.seed)
    except Exception:
        traceback.print_exc()
        return 1
    print(f"{'':10}{'decoded':>10}{'refused':>10}")
    for kind in KINDS:
        print(f"{kind:10}{counts[kind, 'decoded']:>10,}{counts[kind, 'refused']:>10,}")
    print(f"{sum(counts.values()):,} mutations, no other exception")
    return 0


if __name__ == "__main__":
    sys.exit(main())
