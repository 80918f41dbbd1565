"""`vfctl layout`, whole: files in, files out. In-process; Ctrl-C is tested on a real process."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import networkx
import numpy as np
import pytest
from rich.console import Console

from vfctl.cli.app import run
from vfctl.cli.layout import LayoutDisplay, bar, plain_line
from vfctl.graph.loaders import load_graph
from vfctl.physics.offline_layout import LayoutProgress

GRAPH = {
    "nodes": [
        {"id": "a", "label": "Ä", "kind": "class", "population": 3, "tags": ["x"]},
        {"id": "b", "kind": "Person"},
        {"id": "c", "x": -1.0},
        {"id": "d"},
    ],
    "links": [
        {"source": "a", "target": "b", "weight": 2.5},
        {"source": "b", "target": "c"},
        {"source": "c", "target": "d"},
    ],
}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GRAPH))
    return path


def test_npz_has_columns_for_numpy(graph: Path, tmp_path: Path) -> None:
    out = tmp_path / "positions.npz"
    assert run(["layout", str(graph), "--out", str(out)]) == 0
    columns = np.load(out)
    assert columns["positions"].dtype == np.float32
    assert columns["positions"].shape == (4, 3)
    assert np.ptp(columns["positions"], axis=0).max() > 10
    assert columns["file_ids"].tolist() == ["a", "b", "c", "d"]
    assert columns["labels"].tolist() == ["Ä", "b", "c", "d"]
    assert columns["edges"]["weight"].tolist() == [2.5, 1.0, 1.0]
    assert columns["at_rest"]
    assert 0 < columns["steps"] < 5000


def test_json_keeps_ids_and_attributes_and_is_read_again(graph: Path, tmp_path: Path) -> None:
    out = tmp_path / "positions.json"
    assert run(["layout", str(graph), "--out", str(out), "--device", "cpu"]) == 0
    document = json.loads(out.read_text())
    assert (document["schema"], document["graph"]["at_rest"]) == ("vfctl.layout/1", True)
    first, second, third, _ = document["nodes"]
    assert (first["id"], first["population"], first["tags"]) == ("a", 3, ["x"])
    assert second["kind"] == "Person"
    assert third["x"] != -1.0
    assert document["links"][0] == {"source": "a", "target": "b", "weight": 2.5}
    again, before = load_graph(out), load_graph(graph)
    assert (again.labels, again.kinds, again.edges.tolist()) == (before.labels, before.kinds, before.edges.tolist())
    network = networkx.node_link_graph(document, edges="links")
    assert network.nodes["c"]["x"] == third["x"]


def test_graphml_is_read_by_networkx_and_by_us_with_types_kept(graph: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "positions.graphml", tmp_path / "again.graphml"
    assert run(["layout", str(graph), "--out", str(out)]) == 0
    assert run(["layout", str(out), "--out", str(again)]) == 0
    for path in (out, again):
        network = networkx.read_graphml(path)
        assert sorted(network) == ["a", "b", "c", "d"]
        assert network.nodes["a"] | {"x": 0, "y": 0, "z": 0} == {
            "label": "Ä",
            "kind": "class",
            "population": 3,
            "tags": '["x"]',
            "depth": 0,
            "cluster": 0,
            "x": 0,
            "y": 0,
            "z": 0,
        }
        assert network.edges["a", "b"]["weight"] == 2.5
        assert network.graph["at_rest"] is True
    assert load_graph(out).labels == ("Ä", "b", "c", "d")


def test_stdout_is_one_document(graph: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["layout", str(graph), "--out", "-"]) == 0
    output, errors = capfd.readouterr()
    assert len(json.loads(output)["nodes"]) == 4
    assert "4 nodes, 3 edges; physics on cpu" in errors
    assert "at rest after" in errors


def test_the_same_seed_gives_the_same_bytes(graph: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.json" for number in range(3)]
    for path, seed in zip(files, ("5", "5", "6"), strict=True):
        assert run(["layout", str(graph), "--out", str(path), "--seed", seed]) == 0
    one, same, other = (path.read_bytes() for path in files)
    assert one == same != other


def test_parameters_count(graph: Path, tmp_path: Path) -> None:
    out = tmp_path / "positions.npz"
    extents = []
    for length in ("10", "100"):
        assert run(["layout", str(graph), "--out", str(out), "--set", f"rest_length={length}"]) == 0
        extents.append(float(np.ptp(np.load(out)["positions"], axis=0).max()))
    assert extents[1] > 3 * extents[0]


def test_what_is_not_at_rest_in_time_is_written_and_says_so(
    graph: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "positions.json"
    assert run(["layout", str(graph), "--out", str(out), "--max-steps", "10"]) == 1
    assert json.loads(out.read_text())["graph"] == {"name": "graph", "at_rest": False, "steps": 10}
    assert "not at rest after 10 steps" in capfd.readouterr().err


def test_the_graph_itself_is_not_replaced(graph: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = graph.read_bytes()
    assert run(["layout", str(graph), "--out", str(graph)]) == 2
    assert "is the graph file itself" in capfd.readouterr().err
    assert graph.read_bytes() == before


def test_a_picture_needs_no_positions_file(graph: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    assert run(["layout", str(graph), "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.json", "picture.png"]


def test_without_matplotlib_the_extra_is_named_before_anything_is_computed(
    graph: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(["layout", str(graph), "--plot", str(tmp_path / "picture.png")]) == 1
    errors = capfd.readouterr().err
    assert "vfctl[plot]" in errors
    assert "steps" not in errors


def test_a_full_disk_is_an_error_and_no_bug(graph: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    full = tmp_path / "full.npz"
    full.symlink_to("/dev/full")
    assert run(["layout", str(graph), "--out", str(full)]) == 1
    assert "No space left" in capfd.readouterr().err


HALF_WAY = LayoutProgress(1200, 20_000, 0.5, 0.5)


def test_on_a_terminal_there_is_a_bar_and_nothing_stays() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with LayoutDisplay(console) as display:
        for _ in range(100):
            display.show(HALF_WAY)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert 1 <= text.count("1,200 steps") <= 3
    printed = Console(file=io.StringIO(), width=80)
    printed.print(bar(HALF_WAY, 2.0))
    assert "1,200 steps, 600/s, speed 1 units/s" in printed.file.getvalue()  # type: ignore[attr-defined]


def test_elsewhere_there_are_lines_and_none_for_what_is_quick() -> None:
    console = Console(file=io.StringIO(), width=100)
    with LayoutDisplay(console) as display:
        display.show(HALF_WAY)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
    assert plain_line(HALF_WAY, 2.0).startswith("settling, 50 % of the way: 1,200 steps")
