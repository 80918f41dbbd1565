"""Placed graphs in files and pictures: what the formats cannot say, and what they must not lose."""

import io
import json

import networkx as nx
import numpy as np
import pytest

from vfctl.errors import InputError, UsageError
from vfctl.graph import Graph, build_graph
from vfctl.graph.layout_file import PlacedGraph, format_of, write
from vfctl.graph.picture import FORMATS, draw, groups, principal_axes
from vfctl.protocol import NODE_DTYPE


def placed(graph, *, at_rest=True, seed=1):
    nodes = np.zeros(len(graph), NODE_DTYPE)
    nodes["id"] = graph.ids
    random = np.random.default_rng(seed)
    for axis, extent in zip("xyz", (1.0, 30.0, 10.0), strict=True):
        nodes[axis] = random.normal(scale=extent, size=len(graph))
    return PlacedGraph(graph, nodes, at_rest, 7)


def with_attributes(*attributes):
    plain = build_graph("g", [str(number) for number in range(len(attributes))], [(0, 1, 1.0)])
    columns = (plain.ids, plain.labels, plain.kinds, plain.depths, plain.clusters, plain.edges)
    return Graph("g", *columns, attributes=attributes)


def written(graph, format):
    out = io.BytesIO()
    write(placed(graph), out, format)
    out.seek(0)
    return out


def test_positions_of_other_nodes_are_refused():
    nodes = np.zeros(2, NODE_DTYPE)
    with pytest.raises(InputError, match="other node ids"):
        PlacedGraph(build_graph("g", ["a", "b"], []), nodes, True, 0)


def test_attributes_are_of_every_node_or_of_none():
    with pytest.raises(InputError, match="attributes of 1 nodes for 2 nodes"):
        Graph(
            "g",
            *(getattr(with_attributes({}, {}), name) for name in ("ids", "labels", "kinds", "depths")),
            np.zeros(2, np.int32),
            with_attributes({}, {}).edges,
            ({},),
        )


@pytest.mark.parametrize("name", ["x.txt", "x", "npz"])
def test_a_format_that_there_is_not(name, tmp_path):
    with pytest.raises(UsageError, match=r"\.npz, \.json, \.graphml"):
        format_of(tmp_path / name)


def test_json_has_a_graph_without_attributes_by_its_own_ids():
    document = json.load(written(build_graph("g", ["a", "b"], [(1, 0, 2.0)], kinds=["class", "other"]), "json"))
    assert [node["id"] for node in document["nodes"]] == [0, 1]
    assert document["nodes"][0]["kind"] == "class"
    assert document["links"] == [{"source": 1, "target": 0, "weight": 2.0}]


def test_graphml_writes_what_xml_cannot_say_in_another_way():
    graph = with_attributes(
        {"id": "a\x00", "text": "x\x1by", "list": [1, {"y": None}], "none": None, "flag": True, "huge": 10**30},
        {"id": ["t", 1], "odd <name>": "]]>&"},
    )
    network = nx.read_graphml(written(graph, "graphml"))
    first, second = network.nodes["a\ufffd"], network.nodes['["t", 1]']
    assert (first["text"], first["list"], first["flag"]) == ("x\ufffdy", '[1, {"y": null}]', True)
    assert "none" not in first
    assert second["odd <name>"] == "]]>&"


def test_graphml_falls_back_to_our_ids_where_the_files_would_collide():
    network = nx.read_graphml(written(with_attributes({"id": 1}, {"id": "1"}), "graphml"))
    assert sorted(network) == ["0", "1"]


def test_npz_leaves_out_a_column_that_would_need_gigabytes(caplog):
    graph = build_graph("g", ["x" * 10**6] + ["y"] * 200, [])
    columns = np.load(written(graph, "npz"))
    assert "labels" not in columns
    assert columns["kinds"].tolist() == ["other"] * 201
    assert "labels are left out" in caplog.text


@pytest.mark.parametrize("format", ["npz", "json", "graphml"])
def test_the_same_layout_gives_the_same_bytes(format):
    graph = build_graph("g", ["a", "b", "c"], [(0, 1, 1.0)])
    assert written(graph, format).getvalue() == written(graph, format).getvalue()


def test_a_picture_shows_the_two_longest_axes():
    graph = build_graph("g", ["n"] * 200, [])
    places = principal_axes(placed(graph))
    assert places.std(axis=0) == pytest.approx([30.0, 10.0, 1.0], rel=0.2)
    assert np.allclose(places.mean(axis=0), 0, atol=1e-4)
    assert (places.max(axis=0) >= -places.min(axis=0)).all()


def test_colours_are_clusters_or_else_kinds_the_largest_first():
    clusters = build_graph("g", ["n"] * 4, [], clusters=[7, 9, 9, 9])
    assert (groups(placed(clusters))[0], groups(placed(clusters))[1].tolist()) == (
        ["cluster 9", "cluster 7"],
        [1, 0, 0, 0],
    )
    kinds = build_graph("g", ["n"] * 3, [], kinds=["class", "other", "other"])
    assert (groups(placed(kinds))[0], groups(placed(kinds))[1].tolist()) == (["other", "class"], [1, 0, 0])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("count", [1, 40])
def test_pictures_of_any_graph_are_drawn_and_are_always_the_same(format, count):
    graph = build_graph("g", ["n"] * count, [(0, count - 1, 1.0)] if count > 1 else [], clusters=list(range(count)))
    pictures = []
    for _ in range(2 if format != "png" else 1):
        out = io.BytesIO()
        draw(placed(graph), out, format)
        pictures.append(out.getvalue())
    assert len(set(pictures)) == 1
    assert pictures[0].startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format])


def test_coincident_nodes_can_be_drawn():
    graph = build_graph("g", ["a", "b"], [(0, 1, 1.0)])
    nodes = np.zeros(2, NODE_DTYPE)
    nodes["id"] = [0, 1]
    draw(PlacedGraph(graph, nodes, False, 0), io.BytesIO(), "svg")
