"""Edge lists: delimiters, headers, weights, and what is wrong with others."""

import logging
from pathlib import Path

import networkx as nx
import pytest

from vfctl.errors import InputError
from vfctl.graph.loaders import load_graph
from vfctl.graph.loaders.edge_list import load_edge_list

DATA = Path(__file__).parent / "data"


def load(text):
    return load_edge_list(Path("g.csv"), text)


def edges(text):
    graph = load(text)
    names = dict(zip(graph.ids.tolist(), graph.labels, strict=True))
    return [(names[a], names[b], weight) for a, b, weight in graph.edges.tolist()]


TRIANGLE = [("a", "b", 2.0), ("b", "c", 0.5), ("c", "a", 4.0)]


@pytest.mark.parametrize("header", ["", "source{d}target{d}weight\n", "From{d}To{d}Value\n", "x{d}y{d}strength\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", " ", ", ", "   "])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_headers_and_newlines(delimiter, header, newline):
    rows = "a{d}b{d}2\nb{d}c{d}.5\n\nc{d}a{d}4e0 \n"
    assert edges((header + rows).replace("{d}", delimiter).replace("\n", newline)) == TRIANGLE


def test_columns_by_name_in_any_order_among_others():
    assert edges("note,weight,target,source\nx,2,b,a\ny,.5,c,b\n") == TRIANGLE[:2]


def test_gephi_with_quotes():
    graph = load_graph(DATA / "gephi.csv")
    assert graph.labels == ("Hugo, Victor", "Balzac", "Flaubert")
    assert graph.edges.tolist() == [(0, 1, 2.0), (1, 2, 1.5), (2, 0, 0.25)]


def test_comments_before_the_first_row_only():
    assert edges("# from the web\n% sym\na b\n#c b\n") == [("a", "b", 1.0), ("#c", "b", 1.0)]


def test_a_header_is_told_by_the_numbers_below_it_and_mentioned(caplog):
    with caplog.at_level(logging.INFO):
        assert edges("person,friend\n1,2\n2,3\n") == [("1", "2", 1.0), ("2", "3", 1.0)]
    assert "used as a header" in caplog.text
    # … but without numbers below, or with one in it, the first row is an edge.
    assert edges("ann,bob\nbob,cid\n")[0] == ("ann", "bob", 1.0)
    assert edges("ann,1\n2,3\n")[0] == ("ann", "1", 1.0)


def test_number_ids_stay_and_trees_have_depths():
    graph = load("parent,child\n10,20\n10,30\n30,40\n")
    assert graph.ids.tolist() == [10, 20, 30, 40]
    assert graph.depths.tolist() == [0, 1, 1, 2]


def test_what_networkx_writes(tmp_path):
    path = tmp_path / "karate.edgelist"
    nx.write_weighted_edgelist(nx.karate_club_graph(), path)
    graph = load_graph(path)
    assert (len(graph), len(graph.edges)) == (34, 78)
    assert len(set(graph.clusters.tolist())) in range(3, 6)


def test_what_spreadsheets_write(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.txt"
        path.write_text("source\ttarget\nZoë\tÅsa\n", encoding=encoding)
        assert load_graph(path).labels == ("Zoë", "Åsa")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\nb\n", "line 2: 1 columns, expected 2"),
        ("a,b\n\nb,c,1\n", "line 3: 3 columns, expected 2"),
        ("a,b\nb,\n", "line 2: the target is empty"),
        ("source,target\n ,b\n", "line 2: the source is empty"),
        ("alone\nlonely\n", "line 1: one column"),
        ("# nothing\n\n", "holds no edge"),
        ("source,target\n", "holds no node"),
        ("a,b,c,d\ne,f,g,h\n", "line 1: 4 columns without names"),
        ("a,b,1\nb,c,nan\n", "line 2: the weight is 'nan'"),
        ("a,b,1\nb,c,-2\n", "line 2: the weight is '-2'"),
        ("a,b,1\nb,c,\n", "line 2: the weight is ''"),
        ("a;b;0,5\nb;c;0,7\n", "line 1: the weight is '0,5'"),
        ('a,"b\nc,d\n', "line 2: cannot be read"),
    ],
)
def test_what_is_wrong_is_said_and_where(text, said):
    with pytest.raises(InputError, match=said) as error:
        load(text)
    assert error.value.message.startswith("g.csv: ")


def test_loops_are_dropped_with_a_warning_but_their_node_stays(caplog):
    graph = load("1,2\n3,3\n")
    assert graph.ids.tolist() == [1, 2, 3]
    assert len(graph.edges) == 1
    assert "dropped 1 edges" in caplog.text
