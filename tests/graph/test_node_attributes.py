"""What files say of their nodes is kept as they say it."""

import json

import pytest

from vfctl.graph.generators import generate
from vfctl.graph.loaders import load_graph

GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="d0" for="node" attr.name="population" attr.type="int"><default>5</default></key>
<key id="d1" for="all" attr.name="open" attr.type="boolean"/>
<key id="d2" for="node" attr.name="area" attr.type="double"/>
<key id="d3" for="node" attr.name="note" attr.type="string"/>
<key id="d4" for="edge" attr.name="note" attr.type="int"/>
<graph edgedefault="undirected">
<node id="n0"><data key="d1">true</data><data key="d2">2.5</data><data key="d3">7</data></node>
<node id="n1"><data key="d0">many</data><data key="d1">0</data></node>
<edge source="n0" target="n1"/>
</graph></graphml>"""


def test_graphml_with_types_and_defaults(tmp_path):
    path = tmp_path / "g.graphml"
    path.write_text(GRAPHML)
    first, second = load_graph(path).attributes
    assert first == {"id": "n0", "population": 5, "open": True, "area": 2.5, "note": "7"}
    assert second == {"id": "n1", "population": "many", "open": False}  # no number: the text stays


def test_node_link_json_with_any_values(tmp_path):
    nodes = [{"id": ["t", 1], "tags": [1, None]}, {"label": "B"}]
    path = tmp_path / "g.json"
    path.write_text(json.dumps({"nodes": nodes, "links": []}))
    assert load_graph(path).attributes == ({"id": ["t", 1], "tags": [1, None]}, {"id": 1, "label": "B"})


def test_edge_lists_have_names_and_ontologies_addresses(tmp_path):
    edges, ontology = tmp_path / "g.csv", tmp_path / "g.ttl"
    edges.write_text("a,b\n")
    ontology.write_text("@prefix owl: <http://www.w3.org/2002/07/owl#> . <http://x/#A> a owl:Class .")
    assert load_graph(edges).attributes == ({"id": "a"}, {"id": "b"})
    assert load_graph(ontology).attributes == ({"iri": "http://x/#A"},)


@pytest.mark.parametrize("generator", ["tree", "grid"])
def test_generated_graphs_have_none(generator):
    assert generate(generator, 5, 0).attributes == ()
