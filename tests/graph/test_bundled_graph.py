"""The bundled graph: 316 nodes that filters part sensibly."""

import logging
from pathlib import Path

import numpy as np
import pytest

from vfctl.graph.analysis import adjacency, components
from vfctl.graph.loaders import bundled_graph, load_graph


@pytest.fixture(scope="module")
def graph():
    return bundled_graph()


def test_316_nodes_connected_and_simple(graph, caplog):
    assert len(graph) == 316
    assert graph.ids.tolist() == list(range(316))
    ends = graph.edge_indices()
    assert components(adjacency(316, ends)).max() == 0
    assert len({frozenset(pair) for pair in ends.tolist()}) == len(ends)
    assert graph.name == "bundled"


def test_nothing_is_dropped_or_changed_in_loading_it(caplog):
    with caplog.at_level(logging.INFO):
        bundled_graph()
    assert caplog.records == []


def test_labels_are_distinct_and_the_hierarchy_is_consistent(graph):
    assert len(set(graph.labels)) == 316
    assert all(label.strip() == label != "" for label in graph.labels)
    kinds = np.array(graph.kinds)
    for source, target in graph.edge_indices().tolist():
        if kinds[source] == "class":
            assert kinds[target] == "class"
            assert graph.depths[source] == graph.depths[target] + 1
    assert set(graph.depths[kinds == "class"].tolist()) == set(range(6))
    assert graph.depths.max() == 5


def test_each_kind_of_filter_leaves_a_sensible_part(graph):
    kinds = np.array(graph.kinds)
    assert {kind: int((kinds == kind).sum()) for kind in np.unique(kinds)} == {
        "class": 101,
        "individual": 162,
        "property": 53,
    }
    assert np.count_nonzero(graph.depths <= 2) == 80
    assert np.bincount(graph.clusters).tolist() == [63, 64, 58, 39, 43, 25, 24]
    for search, least in (("ocean", 10), ("data", 10), ("sea", 20)):
        assert sum(search in label.lower() for label in graph.labels) >= least


@pytest.mark.parametrize(("name", "nodes"), [("ontology.ttl", 41), ("network.graphml", 36)])
def test_the_examples_load_without_a_warning(name, nodes, caplog):
    graph = load_graph(Path(__file__).parents[2] / "examples" / name)
    assert len(graph) == nodes
    assert components(adjacency(nodes, graph.edge_indices())).max() == 0
    assert len(set(graph.clusters.tolist())) > 3
    assert caplog.records == []
