"""The golden streams: messages of one connection in a row, for what a single COMPACT message does not say.

`generate.py` writes them to `streams/`: NAME.bin has the messages, NAME.json what each of them says once those before
it are known: `messages` are twins as of the single vectors. In the COMPACT ones `section` tells what the frame is made
of; where a coordinate is not finite its value is null. An `invalid-*` has an `error` with the index of the `message`
that is refused, the last one, and the `offset` in it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactUpdate,
    FullGraph,
    Grid,
    Metadata,
    PositionUpdate,
    Trailer,
    encode,
)
from vfctl.protocol.compact import SectionHeader, extrapolate, ids_check, key_section, residual_section

GRID = Grid(0.125)
CHAIN = 0xC0FFEE
TRAILER = Trailer(sequence=41, timestamp_us=1_769_688_000_123_456, interval_us=50_000)
NO_EDGES = np.zeros(0, EDGE_DTYPE)


class Sent(NamedTuple):
    """A message, its bytes, and what a COMPACT section is made of."""

    message: FullGraph | PositionUpdate
    buffer: bytes
    section: dict[str, Any] | None = None


def ids_of(count: int) -> np.ndarray:
    """Not in order, and not without gaps."""
    return np.array([(7 * index) % 1000 + 1 for index in range(count)], np.uint32)


def state(time: int, count: int = 140) -> np.ndarray:
    """Integers on the grid, int32 [3, count]: a block that moves, one of which one node moves, one with stragglers."""
    rows = []
    for axis in range(3):
        row = []
        for index in range(count):
            value = (index * index * 37 + axis * 1013 + index * 271) % 4001 - 2000
            if index < 64:
                value += time * (index % 7 - 3) * (axis + 1) + time * time * (index % 3 - 1) // 2
            elif index == 100:
                value += 5 * time
            elif index == 139:
                value = (-1) ** axis * (2**23 - 11 * time)
            row.append(value)
        rows.append(row)
    return np.array(rows, np.int32)


def nodes_at(integers: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """NODE_DTYPE [nodes], velocities 0."""
    nodes = np.zeros(len(ids), NODE_DTYPE)
    nodes["id"] = ids
    nodes["x"], nodes["y"], nodes["z"] = GRID.dequantise(integers)
    return nodes


def graph(integers: np.ndarray, ids: np.ndarray, **options: Any) -> Sent:
    """A FullGraph that stands where the first state does."""
    message = FullGraph(nodes_at(integers, ids), NO_EDGES, **options)
    return Sent(message, encode(message))


def update(integers: np.ndarray, ids: np.ndarray, **options: Any) -> Sent:
    """A raw or compressed PositionUpdate, with velocities."""
    nodes = nodes_at(integers, ids)
    nodes["vx"] = 0.5
    message = PositionUpdate(nodes, **options)
    return Sent(message, encode(message))


def compact(
    section: bytes, integers: np.ndarray, ids: np.ndarray, settled: bool = False, trailer: Trailer | None = None
) -> tuple[PositionUpdate, bytes]:
    """What a section stands for, and its message."""
    message = PositionUpdate(nodes_at(integers, ids), settled, trailer, compact=True)
    return message, encode(CompactUpdate(len(ids), section, settled, trailer))


def key(position: int, now: np.ndarray, ids: np.ndarray, before: np.ndarray | None = None, span: int = 0) -> Sent:
    """A key frame."""
    header = SectionHeader(CHAIN, position, None, span)
    difference = None if before is None else now - before
    section, span = key_section(GRID, now, difference, header, ids_check(ids))
    about = {"chain": CHAIN, "position": position, "key": True, "span": span, "step": GRID.step}
    return Sent(*compact(section, now, ids), about)


def residual(
    position: int,
    now: np.ndarray,
    ids: np.ndarray,
    latest: np.ndarray,
    earlier: np.ndarray,
    back: int,
    span: int,
    **options: Any,
) -> Sent:
    """A frame that is predicted from two states, or one if the span is 0."""
    header = SectionHeader(CHAIN, position, back, span)
    section = residual_section(now - extrapolate(earlier, latest, span, back), header, ids_check(ids))
    assert section is not None
    about = {"chain": CHAIN, "position": position, "key": False, "back": back, "span": span}
    return Sent(*compact(section, now, ids, **options), about)


def moving() -> list[Sent]:
    """Uneven rounds, rest, a joiner's key frame, a node that is nowhere."""
    ids = ids_of(140)
    at = {time: state(time) for time in (0, 3, 7, 9, 12, 13)}
    lost = at[13].copy()
    lost[1, 70] = -(2**24)
    return [
        graph(at[0], ids),
        key(1000, at[0], ids),
        residual(1003, at[3], ids, at[0], at[0], 3, 0),
        residual(1007, at[7], ids, at[3], at[0], 4, 3),
        residual(1009, at[9], ids, at[7], at[3], 2, 4, settled=True, trailer=TRAILER),
        residual(1009, at[9], ids, at[9], at[7], 0, 0, settled=True),
        key(1012, at[12], ids, at[9], 3),
        residual(1013, lost, ids, at[12], at[9], 1, 3),
        residual(1013 + 65_534, lost, ids, lost, at[12], 65_534, 0),
    ]


def filtered() -> list[Sent]:
    """The subset of a filter, then the one of another that matches nothing."""
    ids, kept = ids_of(5), np.array([0, 3, 4])
    at = {time: state(time, 5) for time in (0, 3, 6, 9)}
    metadata = Metadata(("a", "b", "c"), ("class",) * 3, (0, 1, 2), (0, 0, 1))
    few = {time: at[time][:, kept] for time in at}
    none = at[0][:, :0]
    return [
        graph(at[0], ids),
        key(0, at[0], ids),
        graph(few[0], ids[kept], metadata=metadata, compressed=True),
        key(3, few[3], ids[kept], few[0], 3),
        residual(6, few[6], ids[kept], few[3], few[0], 3, 3),
        residual(9, few[9], ids[kept], few[6], few[3], 3, 3, trailer=TRAILER),
        graph(none, ids[:0]),
        key(9, none, ids[:0]),
    ]


def mixed() -> list[Sent]:
    """One after the other in every encoding: a raw update leaves a chain as it is."""
    ids = ids_of(5)
    at = [state(time, 5) for time in range(4)]
    return [
        graph(at[0], ids, trailer=TRAILER),
        key(0, at[0], ids),
        update(at[1], ids, trailer=TRAILER),
        update(at[2], ids, compressed=True),
        residual(3, at[3], ids, at[0], at[0], 3, 0),
    ]


VALID = {
    "compact-moving": ("uneven rounds, rest, a joiner's key frame, a node that is nowhere", moving()),
    "compact-filtered": ("the subset of a filter, then none", filtered()),
    "encodings-mixed": ("raw, compressed and COMPACT", mixed()),
}


def sealed(body: bytes, count: int, ids: np.ndarray, position: int = 1, chain: int = CHAIN) -> bytes:
    """A COMPACT message with this behind its CRC-32, which is right."""
    prefix = struct.pack("<II", chain, position)
    check = zlib.crc32(body, zlib.crc32(prefix, ids_check(ids)))
    return encode(CompactUpdate(count, prefix + struct.pack("<I", check) + body))


def edited(buffer: bytes, at: int, new: bytes) -> bytes:
    return buffer[:at] + new + buffer[at + len(new) :]


def invalid() -> dict[str, tuple[str, list[bytes], int]]:
    """name: (comment, messages of which the last is refused, offset of the first byte at fault)."""
    ids = ids_of(5)
    at = [state(time, 5) for time in range(6)]
    start = [graph(at[0], ids).buffer, key(0, at[0], ids).buffer]
    one = residual(1, at[1], ids, at[0], at[0], 1, 0).buffer
    two = residual(2, at[2], ids, at[1], at[0], 1, 1).buffer
    others = np.array([1, 2, 3, 4, 5], np.uint32)
    foreign = residual(1, at[1], others, at[0], at[0], 1, 0).buffer
    unknown = residual(1, at[1], ids, at[0], at[0], 1, 1).buffer
    foreign_rest = sealed(bytes(4), 5, ids, 0, CHAIN + 1)
    ones = b"\x02\xff\x7f"
    """One block of five nodes, k = 0, all values 0."""
    outwards = b"\x02\xfc\xff\x01"
    """The same, but the first x is 1."""

    def follow(body: bytes, position: int = 1, back: int = 1) -> list[bytes]:
        return [*start, sealed(struct.pack("<HH", back, 0) + body, 5, ids, position)]

    def grid(step: float, centre: tuple[int, int, int], length: int, body: bytes = b"", span: int = 0) -> list[bytes]:
        return [*start, sealed(struct.pack("<HHfiiiI", 0xFFFF, span, step, *centre, length) + body, 5, ids)]

    middle, edge, nowhere = (0, 0, 0), 2**24 - 1, -(2**24)
    return {
        "before-graph": ("nobody knows which nodes these are", [start[1]], 2),
        "without-key": ("a chain has to begin", [start[0], one], 12),
        "after-graph": ("a FullGraph ends what is known", [*start, start[0], one], 12),
        "reordered": ("the second before the first", [*start, two], 24),
        "repeated": ("the same once more", [*start, one, one], 24),
        "velocity-unknown": ("predicted from two states, but one has come", [*start, unknown], 26),
        "foreign-chain": ("of another server", [*start, sealed(one[24:], 5, ids, 1, CHAIN + 1)], 12),
        "foreign-rest": ("of another server, which says that nothing has changed", [*start, foreign_rest], 12),
        "chain-flipped": ("CRC-32 is over the chain, too", [*start, edited(one, 12, b"\xef")], 20),
        "bit-flipped": ("CRC-32 notices", [*start, edited(one, 30, bytes((one[30] ^ 0x10,)))], 20),
        "other-nodes": ("as many nodes, but others", [*start, foreign], 20),
        "count": ("four nodes of five", [*start, key(1, at[1][:, :4], ids[:4]).buffer], 4),
        "header-cut": ("fifteen bytes", [*start, encode(CompactUpdate(5, bytes(15)))], 8),
        "section-bomb": ("far more than five nodes can need", [*start, encode(CompactUpdate(5, bytes(225)))], 8),
        "rest-with-residual": ("a state that has come cannot change", follow(ones, 0, 0), 24),
        "packed-cut": ("modes, but no bits", follow(b"\x07"), 28),
        "packed-few": ("three values for five nodes", follow(b"\x02\x07"), 29),
        "packed-many": ("sixteen values for five nodes", follow(b"\x02\xff\xff"), 29),
        "packed-too-long": ("a byte behind the last value", follow(ones + b"\x00"), 31),
        "packed-mode": ("a second block of five nodes", follow(b"\x22\xff\x7f"), 28),
        "key-cut": ("no room for the grid", [*start, sealed(struct.pack("<HHf", 0xFFFF, 0, 1.0), 5, ids)], 32),
        "key-step-zero": ("a grid has a step", grid(0.0, middle, 0), 28),
        "key-step-nan": ("and it is a number", grid(float("nan"), middle, 0), 28),
        "key-step-huge": ("with which no position overflows", grid(2.0**105, middle, 0), 28),
        "key-centre": ("outside of the box", grid(1.0, (0, 0, nowhere - 1), 0), 32),
        "key-length": ("more than there is", grid(1.0, middle, 1), 44),
        "key-rest": ("behind the positions, though there is no difference", grid(1.0, middle, 0, ones), 44),
        "key-outside": ("a node leaves the box", grid(1.0, (edge, 0, 0), 4, outwards), 48),
        "key-difference-outside": ("so does the state before it", grid(1.0, (nowhere, 0, 0), 0, outwards, 1), 48),
    }


INVALID = {f"invalid-compact-{name}": case for name, case in invalid().items()}
