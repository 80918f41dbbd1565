"""Graph, its FullGraph form, node-link form, hops and communities."""

import json

import networkx as nx
import numpy as np
import pytest

from vfctl.errors import InputError
from vfctl.graph import build_graph, from_full_graph, to_full_graph
from vfctl.graph.analysis import LOUVAIN_MAX_EDGES, adjacency, components, degrees, find_communities, hops_from
from vfctl.graph.generators import generate
from vfctl.graph.loaders import bundled_graph
from vfctl.graph.model import to_node_link
from vfctl.protocol import NODE_DTYPE, decode, encode

COLUMNS = ("ids", "labels", "kinds", "depths", "clusters", "edges")


def as_lists(graph):
    return {name: np.asarray(getattr(graph, name)).tolist() for name in COLUMNS}


def positions(graph):
    nodes = np.zeros(len(graph), NODE_DTYPE)
    nodes["id"] = graph.ids
    nodes["x"] = np.arange(len(graph)) / 8
    return nodes


def ends_of(*pairs):
    return np.array(pairs, np.int32).reshape(-1, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kinds": ["class"]}, "1 kinds for 2 nodes"),
        ({"kinds": ["class", "gene"]}, "unknown kind 'gene'"),
        ({"edges": [(0, 2, 1.0)]}, "edge 0 has an unknown target, node 2"),
        ({"edges": [(0, 1, 0.0)]}, "weight"),
        ({"edges": [(0, 1, float("nan"))]}, "weight"),
        ({"depths": [0]}, "1 depths for 2 nodes"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change, said):
    columns = {"labels": ["a", "b"], "edges": [(0, 1, 1.0)]} | change
    with pytest.raises(InputError, match=said):
        build_graph("g", **columns)


def test_arrays_are_frozen():
    graph = bundled_graph()
    for name in ("ids", "depths", "clusters", "edges"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(graph, name)[0] = getattr(graph, name)[1]


def test_a_graph_survives_its_full_graph_message():
    graph = bundled_graph()
    message = decode(encode(to_full_graph(graph, positions(graph))))
    assert as_lists(from_full_graph(message, "x")) == as_lists(graph)


def test_without_metadata_the_labels_are_the_ids():
    graph = bundled_graph()
    bare = from_full_graph(decode(encode(to_full_graph(graph, positions(graph), metadata=False))), "x")
    assert bare.labels[:3] == ("0", "1", "2")
    assert set(bare.kinds) == {"other"}
    assert bare.edges.tolist() == graph.edges.tolist()


def test_node_link_has_the_documented_shape_and_networkx_reads_it():
    graph = build_graph("pair", ["a", "b"], [(0, 1, 0.5)], kinds=["class", "other"], depths=[0, 3], clusters=[7, -1])
    document = to_node_link(graph)
    assert document == {
        "directed": False,
        "multigraph": False,
        "graph": {"name": "pair"},
        "nodes": [
            {"id": 0, "label": "a", "kind": "class", "depth": 0, "cluster": 7},
            {"id": 1, "label": "b", "kind": "other", "depth": 3, "cluster": -1},
        ],
        "links": [{"source": 0, "target": 1, "weight": 0.5}],
    }
    read = nx.node_link_graph(json.loads(json.dumps(document)), edges="links")
    assert read.edges[0, 1]["weight"] == 0.5
    assert read.nodes[0]["label"] == "a"


def test_node_link_takes_positions_of_its_own_nodes_only():
    graph = bundled_graph()
    node = to_node_link(graph, positions(graph))["nodes"][4]
    assert (node["id"], node["x"], node["y"], node["z"]) == (4, 0.5, 0.0, 0.0)
    json.dumps(node)
    with pytest.raises(InputError, match="other node ids"):
        to_node_link(graph, positions(graph)[1:])


def test_hops_from_several_sources():
    chain = ends_of((0, 1), (2, 1), (2, 3), (4, 3), (5, 6))
    distances, nearest = hops_from(adjacency(7, chain), [0, 4])
    assert distances.tolist() == [0, 1, 2, 1, 0, -1, -1]
    assert nearest.tolist() == [0, 0, 0, 1, 1, -1, -1]
    assert components(adjacency(7, chain)).tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert degrees(7, chain).tolist() == [1, 2, 2, 2, 1, 1, 1]


def test_communities_of_two_cliques_joined_by_one_edge():
    cliques = [(a, b) for first in (0, 4) for a in range(first, first + 4) for b in range(first, a)]
    ends = ends_of(*cliques, (3, 4), (8, 7), (8, 6))
    found = find_communities(9, ends, np.ones(len(ends), np.float32))
    assert found.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_communities_without_any_edge_are_the_nodes():
    assert find_communities(3, ends_of(), np.ones(0, np.float32)).tolist() == [0, 1, 2]


def test_large_graphs_are_parted_around_hubs_and_by_components():
    graph = generate("random", 4000, seed=1)
    ends = np.concatenate([graph.edge_indices(), ends_of((4000, 4001))])
    assert len(ends) > LOUVAIN_MAX_EDGES
    found = find_communities(4003, ends, np.ones(len(ends), np.float32))
    sizes = np.bincount(found)
    assert len(sizes) == 32 + 2
    assert sizes.tolist() == sorted(sizes, reverse=True)
    assert found[4000] == found[4001] != found[4002]
    again = find_communities(4003, ends, np.ones(len(ends), np.float32))
    assert found.tolist() == again.tolist()
