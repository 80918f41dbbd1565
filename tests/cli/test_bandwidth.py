"""`vfctl bandwidth`, whole: graphs and recordings in, figures, a table and a plot out."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from vfctl.capture import open_capture
from vfctl.capture.encodings import recorded_states
from vfctl.capture.timeline import decoded
from vfctl.cli.app import run
from vfctl.loadtest.results.schema import schema_of
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    FullGraph,
    PositionUpdate,
    Trailer,
    View,
    encode,
)
from vfctl.protocol.websocket import frame_header


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    nodes = [{"id": node} for node in range(40)]
    links = [{"source": node, "target": node // 2} for node in range(1, 40)]
    path.write_text(json.dumps({"nodes": nodes, "links": links}))
    return path


def recording(path: Path, compact: bool) -> Path:
    """Nodes that fly straight on, then rest."""
    count, random = 300, np.random.default_rng(0)
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["id"] = range(count)
    positions = random.normal(0, 100, (3, count)).astype(np.float32)
    velocities = random.normal(0, 0.5, (3, count)).astype(np.float32)
    encoder, view, history = CompactEncoder(), View(nodes["id"]), None
    messages = [encode(FullGraph(nodes, np.zeros(0, EDGE_DTYPE)))]
    for frame in range(20):
        settled = frame > 15
        if not settled:
            positions += velocities
            encoder.push(frame, positions)
        if compact:
            section, history = encoder.section(view, history)
            messages.append(encode(CompactUpdate(count, section, settled)))
        else:
            nodes["x"], nodes["y"], nodes["z"] = positions
            messages.append(encode(PositionUpdate(nodes, settled)))
    path.write_bytes(b"".join(messages))
    return path


def test_a_graph_is_laid_out_to_rest(graph: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "plot.svg"
    assert run(["bandwidth", str(graph), "--json", "--plot", str(plot)]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert (document["schema"], document["source"], document["nodes"]) == ("vfctl.bandwidth/1", str(graph), 40)
    described = schema_of("bandwidth")
    jsonschema.validate(document, described)
    assert set(described["properties"]) == set(document)
    assert set(described["$defs"]["EncodingMetrics"]["properties"]) == set(document["phases"]["moving"]["raw"])
    assert 4000 < document["steps_per_extent"] < 5500
    for phase in ("moving", "at_rest"):
        uses = document["phases"][phase]
        assert uses["raw"]["bytes_per_frame"] == 8 + 40 * 28
        assert (uses["raw"]["of_raw"], uses["raw"]["worst_error_units"], uses["lz4"]["worst_error_units"]) == (1, 0, 0)
        assert uses["lz4"]["bytes_per_s"] == 20 * uses["lz4"]["bytes_per_frame"]
        assert 0 < uses["compact"]["worst_error_of_extent"] < 1 / 8000
        assert all(use["encode_ms"] > 0 < use["decode_ms"] for use in uses.values())
    moving, resting = (document["phases"][phase]["compact"]["bytes_per_frame"] for phase in ("moving", "at_rest"))
    assert resting == pytest.approx(28, abs=5), "the first frame at rest still has the last step in it"
    assert moving < 0.2 * 1128
    assert document["phases"]["at_rest"]["raw"]["frames"] == 20
    assert "physics on cpu" in err
    assert "<svg" in plot.read_text()


@pytest.mark.parametrize("compact", [False, True])
def test_a_recording_of_any_encoding(tmp_path: Path, capfd: pytest.CaptureFixture[str], compact: bool) -> None:
    path = recording(tmp_path / "capture.bin", compact)
    assert run(["bandwidth", str(path), "--json"]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert err.count("warning: the recording is COMPACT") == compact
    assert (document["nodes"], document["key_frames"]) == (300, 1)
    assert [document["phases"][phase]["raw"]["frames"] for phase in ("moving", "at_rest")] == [16, 4]
    error = document["phases"]["moving"]["compact"]["worst_error_units"]
    assert error < 1e-4 if compact else 0.01 < error < 0.2  # what was on a grid before stays there


def times(arrivals_us: list[int]) -> list[bytes]:
    """TIMED messages of a layout that flies on."""
    nodes = np.zeros(3, NODE_DTYPE)
    nodes["id"] = range(3)
    messages = [encode(FullGraph(nodes, np.zeros(0, EDGE_DTYPE)))]
    for number, at_us in enumerate(arrivals_us):
        nodes["x"] += [1, 2, 3]
        messages.append(encode(PositionUpdate(nodes.copy(), False, Trailer(number, at_us, 50_000))))
    return messages


@pytest.mark.parametrize("jump_us", [10**16, 3600 * 10**6, -(10**9)])
def test_a_clock_that_was_set_meanwhile_is_no_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], jump_us: int
) -> None:
    start_us = 10**15
    path = tmp_path / "capture.bin"
    path.write_bytes(b"".join(times([start_us + 50_000 * k + (jump_us if k > 5 else 0) for k in range(12)])))
    assert run(["bandwidth", str(path), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["phases"]["moving"]["compact"]["frames"] == 12


@pytest.mark.parametrize("compact", [False, True])
def test_of_a_damaged_recording_what_is_whole_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], compact: bool
) -> None:
    path = recording(tmp_path / "capture.bin", compact)
    path.write_bytes(path.read_bytes()[:-5])
    assert run(["bandwidth", str(path), "--json"]) == 5
    out, err = capfd.readouterr()
    assert [json.loads(out)["phases"][phase]["raw"]["frames"] for phase in ("moving", "at_rest")] == [16, 3]
    assert "expected the rest" in err


def test_two_connections_are_not_mixed(tmp_path: Path) -> None:
    """The second has the same positions: as one they would cost half, or with another filter a key frame each."""
    with open_capture(recording(tmp_path / "capture.bin", False)) as capture:
        first = [replace(item, connection=1) for item in decoded(capture)]
    second = [replace(item, connection=2) for item in first]
    mixed = [item for pair in zip(first, second, strict=True) for item in pair]
    others: list[tuple[int, int]] = []
    states = list(recorded_states(mixed, lambda *numbers: others.append(numbers)))
    assert len(states) == 20
    assert [state.time_s for state in states] == [state.time_s for state in recorded_states(first)]
    assert others == [(1, 2)]


def test_a_recording_may_be_compressed_or_of_any_format(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = recording(tmp_path / "capture.bin", False).read_bytes()
    packed = tmp_path / "capture.bin.gz"
    packed.write_bytes(gzip.compress(plain))
    assert run(["bandwidth", str(packed), "--json"]) == 0
    framed = tmp_path / "frames"
    messages = times([10**15 + 50_000 * number for number in range(4)])
    framed.write_bytes(b"".join(frame_header(len(message)) + message for message in messages))
    assert run(["bandwidth", str(framed), "--json"]) == 0
    archive = tmp_path / "site.har"
    archive.write_text('{"log": {"entries": []}}')
    assert run(["bandwidth", str(archive)]) != 0
    assert "graph" not in capfd.readouterr().err


def test_a_graph_that_has_a_log_in_it_is_a_graph(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    path.write_text('{"nodes": [{"id": 1, "label": "log"}, {"id": 2}], "links": [], "log": 1}')
    assert run(["bandwidth", str(path), "--json", "--max-steps", "6"]) == 0


def test_the_table_is_for_people(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bandwidth", str(recording(tmp_path / "capture.bin", False))]) == 0
    out = capfd.readouterr().out
    assert "moving, 16 frames" in out
    assert "at rest, 4 frames" in out
    for name in ("raw", "lz4", "compact", "168 kB/s", "exact"):
        assert name in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.json"], 1, "nowhere.json"),
        (["CAPTURE", "--nodes", "5"], 2, "is a recording"),
        (["CAPTURE", "--seed", "5"], 2, "--seed"),
        (["CAPTURE", "--max-steps", "5"], 2, "--max-steps"),
        (["CAPTURE", "--device", "cpu"], 2, "--device"),
        (["--plot", "plot.txt"], 2, "a picture is one of"),
        (["EMPTY"], 1, "there are no positions to encode"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    empty = tmp_path / "empty.bin"
    empty.write_bytes(encode(FullGraph(np.zeros(0, NODE_DTYPE), np.zeros(0, EDGE_DTYPE))))
    places = {"CAPTURE": str(recording(tmp_path / "capture.bin", False)), "EMPTY": str(empty)}
    assert run(["bandwidth", *(places.get(argument, argument) for argument in arguments)]) == code
    assert message in capfd.readouterr().err
