"""Node-link JSON: networkx's, d3's, our own, and what is wrong with others."""

import json
import logging
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.errors import InputError
from vfctl.graph import KINDS, Graph
from vfctl.graph.generators import GENERATORS, generate
from vfctl.graph.loaders import bundled_graph, load_graph
from vfctl.graph.loaders.node_link import load_node_link
from vfctl.graph.model import to_node_link
from vfctl.protocol import EDGE_DTYPE

DATA = Path(__file__).parent / "data"
COLUMNS = ("name", "ids", "labels", "kinds", "depths", "clusters", "edges")


def as_lists(graph):
    return {name: np.asarray(getattr(graph, name)).tolist() for name in COLUMNS}


def load(document):
    text = document if isinstance(document, str) else json.dumps(document)
    return load_node_link(Path("g.json"), text)


def nodes_and(links, *ids, **more):
    return {"nodes": [{"id": node} for node in ids], "links": links, **more}


@pytest.mark.parametrize(
    "graph", [bundled_graph(), *(generate(name, 60, 3) for name in GENERATORS)], ids=lambda g: g.name
)
def test_our_own_form_reads_back_equal(graph, tmp_path, caplog):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(to_node_link(graph)))
    with caplog.at_level(logging.INFO):
        assert as_lists(load_graph(path)) == as_lists(graph)
    assert caplog.records == []


@st.composite
def graphs(draw):
    int32 = st.integers(-(2**31), 2**31 - 1)
    ids = draw(st.lists(st.integers(0, 2**32 - 2), unique=True, min_size=1, max_size=8))
    count = len(ids)
    column = lambda values: draw(st.lists(values, min_size=count, max_size=count))  # noqa: E731
    labels = column(st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(lambda s: s == s.strip()))
    pairs = draw(st.sets(st.tuples(st.sampled_from(ids), st.sampled_from(ids)).filter(lambda pair: pair[0] < pair[1])))
    weight = st.floats(2**-126, 2**127, width=32)
    edges = np.array([(*pair, draw(weight)) for pair in sorted(pairs)], EDGE_DTYPE)
    return Graph(
        name="g",
        ids=np.array(ids, np.uint32),
        labels=tuple(labels),
        kinds=tuple(column(st.sampled_from(KINDS))),
        depths=np.array(column(st.integers(0, 2**31 - 1)), np.int32),
        clusters=np.array(column(int32), np.int32),
        edges=edges,
    )


@given(graphs(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_simple_graph_reads_back_equal(graph, ascii_only):
    text = json.dumps(to_node_link(graph), ensure_ascii=ascii_only)
    assert as_lists(load(text)) == as_lists(graph)


def test_d3_links_by_index_with_group_and_value():
    graph = load_graph(DATA / "d3-by-index.json")
    assert graph.labels == ("Myriel", "Napoleon", "Mlle. Baptistine", "Valjean", "Javert")
    assert graph.clusters.tolist() == [1, 1, 1, 2, 4]
    assert graph.edges.tolist()[0] == (1, 0, 1.0)
    assert graph.edges["weight"].tolist() == [1, 8, 5, 3, 17]
    assert graph.name == "d3-by-index"


def test_d3_links_whose_ends_became_objects():
    graph = load(nodes_and([{"source": {"id": "a", "x": 1.5}, "target": {"id": "b"}}], "a", "b"))
    assert graph.edges.tolist() == [(0, 1, 1.0)]


def test_networkx_with_edges_tuple_ids_and_foreign_kinds(caplog):
    graph = load_graph(DATA / "networkx.json")
    assert graph.name == "staff"
    assert graph.labels == ("staff", "ada", "0, 1")
    assert graph.kinds == ("class", "individual", "other")
    assert graph.depths.tolist() == [0, 1, 0]
    assert graph.edges.tolist() == [(1, 0, 2.5), (2, 1, 1.0)]
    (record,) = caplog.records
    assert "'gene'" in record.getMessage()
    assert record.levelno == logging.WARNING


@pytest.mark.parametrize("edges", ["links", "edges"])
def test_what_networkx_writes(edges, tmp_path):
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(nx.node_link_data(nx.grid_2d_graph(2, 3), edges=edges)))
    graph = load_graph(path)
    assert len(graph) == 6
    assert len(graph.edges) == 7


def test_ids_stay_only_if_all_are_distinct_u32():
    edge = lambda a, b: [{"source": a, "target": b}]  # noqa: E731
    assert load(nodes_and(edge(7, 3), 7, 3)).ids.tolist() == [7, 3]
    assert load(nodes_and(edge(7, 3), 7, 3)).edges.tolist() == [(7, 3, 1.0)]
    assert load(nodes_and(edge("7", "3"), "7", "3")).ids.tolist() == [7, 3]
    for ids in ([7, "x"], [7, "7"], [7, -1], [7, 2**32 - 1], [7, 10**30], ["07", "1"], [0.5, 1]):
        graph = load(nodes_and(edge(*ids), *ids))
        assert graph.ids.tolist() == [0, 1]
        assert graph.edges.tolist() == [(0, 1, 1.0)]
        assert graph.labels[1] == str(ids[1])


def test_parallel_edges_are_merged_and_loops_dropped_with_a_warning(caplog):
    links = [
        {"source": 1, "target": 2, "weight": 1},
        {"source": 2, "target": 2},
        {"source": 2, "target": 1, "weight": 0.5},
        {"source": 1, "target": 2},
    ]
    graph = load(nodes_and(links, 1, 2))
    assert graph.edges.tolist() == [(1, 2, 2.5)]
    assert [record.getMessage() for record in caplog.records] == ["g.json: dropped 1 edges from a node to itself"]


def test_clusters_keep_numbers_number_names_and_gather_the_rest():
    def clusters(*values):
        nodes = [{"id": n} | ({} if value is None else {"Modularity Class": value}) for n, value in enumerate(values)]
        return load({"nodes": nodes, "links": []}).clusters.tolist()

    assert clusters(5, -1, None, "2") == [5, -1, 6, 2]
    assert clusters("b", "a", "b", None) == [0, 1, 0, 2]
    assert clusters(2**31 - 1, 4) == [2**31 - 1, 4]
    assert clusters(2**31 - 1, None) == [0, 1]
    assert clusters(2**40, 3) == [0, 1]


def test_group_may_be_a_kind():
    nodes = [{"id": 0, "group": "class"}, {"id": 1, "group": "individual", "community": 4}, {"id": 2, "group": 8}]
    graph = load({"nodes": nodes, "links": []})
    assert graph.kinds == ("class", "individual", "other")
    assert graph.clusters.tolist()[1:] == [4, 8]


@pytest.mark.parametrize(
    ("links", "directed", "depths"),
    [
        ([(0, 1), (0, 2), (2, 3)], True, [0, 1, 1, 2]),  # parent to child
        ([(1, 0), (2, 0), (3, 2)], True, [0, 1, 1, 2]),  # child to parent
        ([(0, 1), (0, 2), (2, 3)], False, [0, 0, 0, 0]),
        ([(0, 1), (2, 1), (0, 3)], True, [0, 0, 0, 0]),  # no tree
        ([(0, 1), (1, 2), (2, 0)], True, [0, 0, 0, 0]),  # no root
        ([(0, 1), (1, 0), (2, 3)], True, [0, 1, 0, 1]),  # two-way is one edge
    ],
)
def test_depths_of_a_directed_forest_without_any(links, directed, depths):
    edges = [{"source": a, "target": b} for a, b in links]
    assert load(nodes_and(edges, 0, 1, 2, 3, directed=directed)).depths.tolist() == depths


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", r"g.json: line 1, column 2: not JSON"),
        ('{"nodes": [\n {"id": 1},,]}', r"line 2, column 12: not JSON"),
        ("[1, 2]", "the JSON is a list"),
        ("{}", "without 'nodes'"),
        ({"nodes": []}, "without 'links' or 'edges'"),
        ({"nodes": [], "links": []}, "holds no node"),
        ({"nodes": {}, "links": []}, "'nodes' is an object, expected a list"),
        ({"nodes": [], "links": [], "edges": []}, "both 'links' and 'edges'"),
        ({"nodes": [3], "links": []}, r"nodes\[0\]: is a number, expected an object"),
        (nodes_and([4], 1), r"links\[0\]: is a number"),
        (nodes_and([{"source": 1}], 1), r"links\[0\]: has no 'target'"),
        (nodes_and([{"source": 1, "target": None}], 1), r"links\[0\]: 'target' is None"),
        (nodes_and([{"source": 1, "target": 2}], 1), r"links\[0\]: the target, node 2, does not exist"),
        (nodes_and([{"source": 9, "target": 1}], 1), r"links\[0\]: the source, node 9, does not exist"),
        (nodes_and([], 1, 2, 1), r"nodes\[2\]: node 1 is defined a second time"),
        (nodes_and([], True), r"nodes\[0\]: 'id' is True"),
        (nodes_and([], {"a": 1}), r"nodes\[0\]: 'id' is {'a': 1}"),
        ('{"nodes": [{"id": NaN}], "links": []}', "NaN is not a JSON number"),
        ('{"nodes": [{"id": %s}], "links": []}' % ("1" * 5000), "cannot be read"),
        ({"nodes": [{"id": 1, "depth": -1}], "links": []}, r"nodes\[0\]: the depth is -1"),
        ({"nodes": [{"id": 1, "level": "top"}], "links": []}, r"nodes\[0\]: the depth is 'top'"),
        ({"nodes": [{"id": 1, "depth": 2**31}], "links": []}, r"nodes\[0\]: the depth is 2147483648"),
        ({"nodes": [{"id": 1, "cluster": [1]}], "links": []}, r"nodes\[0\]: the cluster is \[1\]"),
        ({"nodes": [{"id": 1, "label": {}}], "links": []}, r"nodes\[0\]: the label is {}"),
        ({"nodes": [{"id": 1, "kind": ["class"]}], "links": []}, r"nodes\[0\]: the kind is"),
        ({"nodes": [{"id": 1, "label": "\ud800"}], "links": []}, "surrogate"),
        ({"@context": {}, "@graph": []}, "JSON-LD"),
    ],
)
def test_what_is_wrong_is_said_and_where(document, said):
    with pytest.raises(InputError, match=said) as error:
        load(document)
    assert error.value.message.startswith("g.json: ")
    assert "\n" not in error.value.message


@pytest.mark.parametrize("weight", [0, -1, "x", None, True, False, "nan", "inf", 1e39, 1e-46, 10**400, [], {}])
def test_weights_that_cannot_be(weight):
    document = json.dumps(nodes_and([{"source": 1, "target": 2, "weight": weight}], 1, 2))
    with pytest.raises(InputError, match=r"g.json: links\[0\]: the weight is"):
        load(document)


def test_weights_that_overflow_when_merged():
    links = [{"source": 1, "target": 2, "weight": 3e38}, {"source": 2, "target": 1, "weight": 3e38}]
    with pytest.raises(InputError, match=r"links\[1\]: the weights between 2 and 1 add up"):
        load(nodes_and(links, 1, 2))


@pytest.mark.parametrize("opening", ["[", '{"nodes":', '{"nodes":[{"id":'])
def test_deep_nesting_is_an_error_not_a_crash(opening):
    with pytest.raises(InputError, match="nested too deeply"):
        load(opening * 100_000)


def test_ids_may_be_nested_but_not_without_end():
    assert load({"nodes": [{"id": [[0, "a"], 1]}], "links": []}).labels == ("0, a, 1",)
    for depth in (9, 300, 900):
        nested = "[" * depth + "1" + "]" * depth
        for key in ("id", "label", "kind", "depth", "cluster"):
            with pytest.raises(InputError, match=r"nodes\[0\]: |too deeply"):
                load('{"nodes":[{"' + key + '":' + nested + '}],"links":[]}')
