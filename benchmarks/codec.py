"""The codec beside what could be done instead: a bare copy of the bytes, struct in a loop, JSON.

    python benchmarks/codec.py

Prints the median time of each, and its ratio to the bare copy, for 316 and 10,000 nodes.
"""

from __future__ import annotations

import json
import statistics
import struct
import time
from collections.abc import Callable

import numpy as np

from vfctl.protocol import NODE_DTYPE, PositionUpdate, Trailer, decode, encode
from vfctl.protocol.websocket import frame

REPEATS = 41


def median_us(work: Callable[[], object]) -> float:
    """Median of some dozens of runs, in µs."""
    times = []
    for _ in range(REPEATS):
        start_ns = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start_ns) / 1000)
    return statistics.median(times)


def compare(count: int) -> None:
    """All variants for one number of nodes."""
    generator = np.random.default_rng(0)
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["id"] = range(count)
    for axis in ("x", "y", "z", "vx", "vy", "vz"):
        nodes[axis] = generator.normal(size=count)
    message = PositionUpdate(nodes, trailer=Trailer(1, 2, 3))
    packed = PositionUpdate(nodes, trailer=Trailer(1, 2, 3), compressed=True)
    encoded, compressed = encode(message), encode(packed)
    rows = nodes.tolist()
    record = struct.Struct("<I6f")
    variants: dict[str, Callable[[], object]] = {
        "bare copy (tobytes)": nodes.tobytes,
        "encode": lambda: encode(message),
        "encode and frame": lambda: frame(encode(message)),
        "encode, lz4": lambda: encode(packed),
        "decode": lambda: decode(encoded),
        "decode, lz4": lambda: decode(compressed),
        "struct, a node at a time": lambda: b"".join(record.pack(*row) for row in rows),
        "JSON": lambda: json.dumps(rows),
    }
    times_us = {name: median_us(work) for name, work in variants.items()}
    floor_us = times_us["bare copy (tobytes)"]
    print(f"{count:,} nodes: raw {len(encoded):,} bytes, lz4 {len(compressed):,} bytes")
    for name, time_us in times_us.items():
        print(f"  {name:<26}{time_us:>10.1f} µs{time_us / floor_us:>10.1f} ×")


if __name__ == "__main__":
    for nodes_count in (316, 10_000):
        compare(nodes_count)
