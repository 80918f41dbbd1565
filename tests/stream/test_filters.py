"""Filters: criteria combine with AND, and subsets are what the wire says they are."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.graph import Graph, build_graph
from vfctl.protocol import EVERYTHING, NODE_DTYPE, Filter
from vfctl.stream import FilterIndex

LABELS = ("Person", "Ada", "knows", "STRASSE", "personal computer")
KINDS = ("class", "individual", "property", "other", "class")
DEPTHS = (0, 1, 0, 3, 2)
CLUSTERS = (1, 1, 2, 7, 7)
EDGES = [(0, 1, 1.0), (1, 2, 1.0), (3, 4, 1.0), (4, 0, 1.0)]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build_graph("test", LABELS, EDGES, kinds=KINDS, depths=DEPTHS, clusters=CLUSTERS)


def kept(graph: Graph, criteria: Filter) -> list[int]:
    nodes = np.zeros(len(graph), NODE_DTYPE)
    nodes["id"] = graph.ids
    return FilterIndex(graph).subset(criteria).gather(nodes)["id"].tolist()


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"kind": ["class"]}, [0, 4]),
        ({"kind": []}, []),
        ({"kind": ["no such kind"]}, []),
        ({"depth": [1, 3]}, [1, 3, 4]),
        ({"depth": [3, 1]}, []),
        ({"depth": [-(10**30), 10**30]}, [0, 1, 2, 3, 4]),
        ({"cluster": [7, 10**30]}, [3, 4]),
        ({"search": "PERSON"}, [0, 4]),
        ({"search": "straße"}, [3]),
        ({"search": ""}, [0, 1, 2, 3, 4]),
        ({"search": "nowhere"}, []),
        ({"kind": ["class"], "cluster": [7], "search": "person"}, [4]),
        ({"kind": ["class"], "depth": [1, 1]}, []),
    ],
)
def test_criteria(graph: Graph, criteria: dict[str, object], expected: list[int]) -> None:
    assert kept(graph, Filter.from_json(criteria)) == expected


def test_edges_have_both_ends_inside_and_metadata_follows(graph: Graph) -> None:
    subset = FilterIndex(graph).subset(Filter(clusters=frozenset({1})))
    assert subset.edges[["source", "target"]].tolist() == [(0, 1)]
    assert subset.metadata.label == ("Person", "Ada")
    assert subset.metadata.depth == (0, 1)


def test_everything_is_the_graph_itself(graph: Graph) -> None:
    subset = FilterIndex(graph).subset(EVERYTHING)
    nodes = np.zeros(len(graph), NODE_DTYPE)
    assert subset.gather(nodes) is nodes
    assert len(subset.edges) == len(EDGES)


def test_equal_filters_share_a_subset_that_goes_with_the_last_who_holds_it(graph: Graph) -> None:
    index = FilterIndex(graph)
    first = index.subset(Filter(search="person"))
    assert index.subset(Filter(search="person")) is first
    watching = weakref.ref(first)
    del first
    gc.collect()
    assert watching() is None


criteria = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.lists(st.sampled_from(["class", "individual", "property", "other"])),
        "depth": st.lists(st.integers(-1, 4), min_size=2, max_size=2),
        "cluster": st.lists(st.integers(0, 8)),
        "search": st.sampled_from(["person", "A", "s", "é"]),
    },
)


@given(criteria)
def test_criteria_combine_with_and(graph: Graph, criteria: dict[str, object]) -> None:
    each = [set(kept(graph, Filter.from_json({key: value}))) for key, value in criteria.items()]
    assert set(kept(graph, Filter.from_json(criteria))) == set(range(5)).intersection(*each)
