"""Decoding a recording beside the floor of what it could cost: copying the file, and the JSON library's own time.

    python benchmarks/decode.py [--megabytes 2000] [--repeats 7] [--nodes 316 10000] [--memory] [--folder FOLDER]

For frames of 316 and of 10,000 nodes, in turns and with the page cache warm: `cat` of the file and `vfctl decode
--format npz`; then, of a shorter file, orjson with all arrays at hand and `vfctl decode --format ndjson`, which has to
give the same bytes. Whole processes, start and import included; of orjson only the loop that dumps and writes. Prints
medians, and the median of the ratios within the pairs. `--memory` prints instead the peak of each format, for a file of
a seventh of the length and for the whole one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson

from vfctl.capture.exporters import FORMATS
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, PositionUpdate, Trailer, encode

VFCTL = Path(sys.executable).with_name("vfctl")
JSON_BYTES = 1_000_000_000
START_US = 1_700_000_000_000_000
NPZ_BAR, NDJSON_BAR = 2.0, 1.3


def write_recording(path: Path, node_count: int, least_bytes: int) -> None:
    """A FullGraph and TIMED updates, 50 ms apart, of forty states in turns."""
    generator = np.random.default_rng(0)
    states = np.zeros((40, node_count), NODE_DTYPE)
    states["id"] = np.arange(node_count)
    for axis in ("x", "y", "z", "vx", "vy", "vz"):
        states[axis] = generator.normal(size=states.shape) * 50
    edges = np.array([(node, (node * 7 + 1) % node_count, 1) for node in range(node_count)], EDGE_DTYPE)
    with path.open("wb") as file:
        file.write(encode(FullGraph(states[0], edges, trailer=Trailer(1, START_US, 50_000))))
        number = 0
        while file.tell() < least_bytes:
            number += 1
            trailer = Trailer(number, START_US + number * 50_000, 50_000)
            file.write(encode(PositionUpdate(states[number % 40], trailer=trailer)))


def process_s(command: list[str], out: Path | None = None) -> float:
    """How long a process takes; its stdout goes to a new file."""
    if out:
        out.unlink(missing_ok=True)
    with (out or Path(os.devnull)).open("wb") as stdout:
        start_s = time.perf_counter()
        subprocess.run(command, stdout=stdout, stderr=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start_s


def decode_s(file: Path, format: str, out: Path) -> float:
    """How long `vfctl decode` takes into a new file."""
    out.unlink(missing_ok=True)
    return process_s([str(VFCTL), "decode", str(file), "--format", format, "--output", str(out)])


def json_floor_s(node_count: int, file: Path, out: Path) -> float:
    """How long orjson takes for the same lines when every array is there already; in a process of its own."""
    out.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--floor", str(node_count), str(file), str(out)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def dump_floor(node_count: int, file: Path, out: Path) -> float:
    """What `json_floor_s` runs; returns the time of dumping and writing."""
    length = 8 + node_count * NODE_DTYPE.itemsize + 20
    graph_length = length + 4 + node_count * EDGE_DTYPE.itemsize
    content = np.memmap(file, np.uint8)
    graph, frames = content[:graph_length], content[graph_length:].reshape(-1, length)

    def columns(records: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()}

    first = columns(graph[8 : 8 + node_count * 28].view(NODE_DTYPE))
    edges = columns(graph[8 + node_count * 28 + 4 : -20].view(EDGE_DTYPE))
    place = {
        "type": "FullGraph",
        "flags": ["TIMED"],
        "message": 0,
        "time_s": 0.0,
        "direction": "server",
        "connection": 0,
    }
    times = {"sequence": 1, "timestamp_us": START_US, "interval_us": 50_000}
    lines: list[dict[str, object]] = [{**place, **times, "count": node_count, "nodes": first, "edges": edges}]
    for number, frame in enumerate(frames, 1):
        place = {**place, "type": "PositionUpdate", "message": number, "time_s": round(number * 0.05 * 1e6) / 1e6}
        times = {"sequence": number, "timestamp_us": START_US + number * 50_000, "interval_us": 50_000}
        nodes = columns(frame[8:-20].view(NODE_DTYPE))
        lines.append({**place, **times, "count": node_count, "nodes": nodes})
    start_s = time.perf_counter()
    with out.open("wb") as stream:
        for line in lines:
            stream.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))
    return time.perf_counter() - start_s


def compare(name: str, floor: Callable[[], float], ours: Callable[[], float], repeats: int, bar: float) -> None:
    """Both in turns; prints the medians and the ratio."""
    ours()  # the page cache, and compiled modules
    pairs = [(floor(), ours()) for _ in range(repeats)]
    ratios = sorted(our_s / floor_s for floor_s, our_s in pairs)
    floor_s, our_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(ratios)
    print(
        f"  {name:<24} floor {floor_s:6.2f} s  vfctl {our_s:6.2f} s  ratio {ratio:5.2f} "
        f"({ratios[0]:.2f}–{ratios[-1]:.2f})  bar {bar}: {'held' if ratio <= bar else 'NOT held'}"
    )


def peak_mb(file: Path, format: str, out: Path) -> float:
    """The most memory that `vfctl decode` has had, in MB."""
    out.unlink(missing_ok=True)
    command = [str(VFCTL), "decode", str(file), "--format", format, "--output", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    out.unlink(missing_ok=True)
    return usage.ru_maxrss / 1000


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--nodes", type=int, nargs="+", default=[316, 10_000])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--formats", nargs="+", default=["table", *FORMATS])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--floor", nargs=3)
    options = parser.parse_args()
    if options.floor:
        print(dump_floor(int(options.floor[0]), Path(options.floor[1]), Path(options.floor[2])))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        long, short, out = folder / "long.bin", folder / "short.bin", folder / "out"
        for node_count in options.nodes:
            print(f"{node_count:,} nodes")
            write_recording(long, node_count, options.megabytes * 1_000_000)
            if options.memory:
                write_recording(short, node_count, options.megabytes * 1_000_000 // 7)
                for format in options.formats:
                    peaks = [peak_mb(file, format, out) for file in (short, long)]
                    print(f"  {format:<8} peak {peaks[0]:.0f} MB of the short file, {peaks[1]:.0f} MB of the long one")
                continue
            copy = lambda: process_s(["cat", str(long)], out)  # noqa: E731
            compare("npz / cat", copy, lambda: decode_s(long, "npz", out), options.repeats, NPZ_BAR)
            write_recording(short, node_count, min(JSON_BYTES, options.megabytes * 1_000_000))
            json_floor_s(node_count, short, out)
            dumped = out.read_bytes()
            decode_s(short, "ndjson", out)
            assert out.read_bytes() == dumped, "not the same lines"
            del dumped
            floor = lambda count=node_count: json_floor_s(count, short, out)  # noqa: E731
            compare("ndjson / orjson", floor, lambda: decode_s(short, "ndjson", out), options.repeats, NDJSON_BAR)


if __name__ == "__main__":
    main()
