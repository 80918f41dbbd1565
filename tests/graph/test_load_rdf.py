"""Ontologies in Turtle, N-Triples and RDF/XML."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vfctl.errors import InputError
from vfctl.graph.loaders import load_graph
from vfctl.graph.loaders.rdf import load_rdf

DATA = Path(__file__).parent / "data"
PREFIXES = """@prefix : <http://example.org/x#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
"""


def load(turtle):
    return load_rdf(Path("g.ttl"), PREFIXES + turtle, "turtle")


def kinds(graph):
    return dict(zip(graph.labels, graph.kinds, strict=True))


def depths(graph):
    return dict(zip(graph.labels, graph.depths.tolist(), strict=True))


def edges(graph):
    return {(graph.labels[a], graph.labels[b]) for a, b in graph.edge_indices().tolist()}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the loader went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_what_protege_writes(no_network):
    graph = load_graph(DATA / "protege.owl")
    assert kinds(graph) == {
        "hasTopping": "property",
        "Pizza": "class",
        "Topping": "class",
        "NamedPizza": "class",
        "Margherita Pizza": "class",
        "MozzarellaTopping": "class",
        "lunch": "individual",
    }
    assert depths(graph) == {
        "hasTopping": 0,
        "Pizza": 0,
        "Topping": 0,
        "NamedPizza": 1,
        "Margherita Pizza": 2,
        "MozzarellaTopping": 1,
        "lunch": 3,
    }
    assert edges(graph) == {
        ("hasTopping", "Pizza"),
        ("hasTopping", "Topping"),
        ("NamedPizza", "Pizza"),
        ("Margherita Pizza", "NamedPizza"),
        ("Margherita Pizza", "MozzarellaTopping"),
        ("MozzarellaTopping", "Topping"),
        ("lunch", "Margherita Pizza"),
    }


def test_kinds_are_inferred_from_use():
    graph = load(""":rex a :Dog ; :chases :tom ; :age 4 ; :tag "b" . :Dog rdfs:subClassOf :Animal .
        :chases rdfs:domain :Dog ; rdfs:range :Cat . :age rdfs:range xsd:integer . :runs rdfs:subPropertyOf :moves .""")
    assert kinds(graph) == {
        "rex": "individual",
        "Dog": "class",
        "tom": "other",
        "Animal": "class",
        "chases": "property",
        "Cat": "class",
        "age": "property",
        "runs": "property",
        "moves": "property",
    }
    assert ("rex", "tom") in edges(graph)
    assert depths(graph)["runs"] == 1


def test_a_class_that_is_also_an_individual_is_a_class():
    graph = load(":A a owl:NamedIndividual, owl:Class . :B a :A .")
    assert kinds(graph) == {"A": "class", "B": "individual"}


def test_vocabulary_ontology_header_and_axiom_annotations_are_left_out():
    graph = load("""<http://example.org/x> a owl:Ontology ; :author :ann ; owl:imports <http://example.org/y> .
        :A a owl:Class ; rdfs:subClassOf owl:Thing ; rdfs:isDefinedBy <http://example.org/x> .
        [] a owl:Axiom ; owl:annotatedSource :A ; :note :n .
        :B a owl:Class ; rdfs:seeAlso <http://example.org/page> .""")
    assert kinds(graph) == {"A": "class", "B": "class"}


def test_labels_rather_english_then_any_then_the_local_name():
    graph = load(""":a a :T ; rdfs:label "Zug"@de, "Train"@en-GB, "Tren" . :b a :T ; rdfs:label "Zug"@de, "Tren" .
        :c a :T ; rdfs:label "Zug"@de . :d a :T ; skos:prefLabel "Dee"@en . :e%20f a :T ; rdfs:label " " .
        <urn:isbn:123> a :T . <http://example.org/path/> a :T .""")
    assert graph.labels == ("Train", "T", "Tren", "Zug", "Dee", "e f", "123", "path")


def test_anonymous_classes_stand_for_the_named_ones_in_them():
    graph = load(""":A rdfs:subClassOf [ a owl:Restriction ; owl:onProperty :p ; owl:allValuesFrom
            [ a owl:Class ; owl:unionOf ( :B [ owl:intersectionOf ( :C owl:Thing ) ] ) ] ] .
        :B a owl:Class . :C a owl:Class . :p a owl:ObjectProperty ; rdfs:domain [ owl:unionOf ( :A :B ) ] .
        :D owl:equivalentClass [ a owl:Class ; owl:oneOf ( :i ) ] . :i a :C .
        :l :members ( :i ) .""")
    assert edges(graph) == {("A", "B"), ("A", "C"), ("p", "A"), ("p", "B"), ("D", "i"), ("i", "C"), ("l", "i")}
    assert depths(graph)["A"] == 0


def test_blank_node_individuals_are_nodes():
    graph = load('[] a :Person ; :knows [ a :Person ; rdfs:label "Ben" ] ; :home [ :street "Main" ] .')
    assert set(graph.labels) == {"Person (unnamed)", "Person", "Ben", "(unnamed)"}
    assert ("Person (unnamed)", "Ben") in edges(graph)
    assert ("Person (unnamed)", "(unnamed)") in edges(graph)


def test_annotations_link_what_is_there_but_make_no_nodes():
    graph = load(""":see a owl:AnnotationProperty . :A a owl:Class ; :see :B, <http://example.org/elsewhere> .
        :B a owl:Class .""")
    assert kinds(graph) == {"see": "property", "A": "class", "B": "class"}
    assert edges(graph) == {("A", "B")}


def test_depths_survive_cycles_and_take_the_shortest_way():
    graph = load(""":A rdfs:subClassOf :B . :B rdfs:subClassOf :C . :C rdfs:subClassOf :A . :D rdfs:subClassOf :D .
        :E rdfs:subClassOf :D . :F rdfs:subClassOf :E, :D . :G rdfs:subClassOf :E . :i a :G, :F .""")
    assert depths(graph) == {"A": 0, "B": 2, "C": 1, "D": 0, "E": 1, "F": 1, "G": 2, "i": 2}


def test_a_long_chain_and_long_lists_do_not_recurse():
    chain = "\n".join(f":C{n} rdfs:subClassOf :C{n + 1} ." for n in range(1500))
    members = " ".join(f":C{n}" for n in range(200))
    graph = load(f"{chain}\n:all owl:equivalentClass [ owl:unionOf ( {members} ) ] .")
    assert depths(graph)["C0"] == 1500
    assert len(graph.edges) == 1700


def test_n_triples_and_turtle_without_an_extension(tmp_path):
    triple = "<urn:x:a> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <urn:x:T> .\n"
    for name, text in (
        ("g.nt", triple),
        ("g", triple),
        ("h", f"# c\n\n#d\n{PREFIXES}:a a :T ."),
        ("g.owl", PREFIXES + ":a a :T ."),
    ):
        path = tmp_path / name
        path.write_text(text)
        assert load_graph(path).labels == ("a", "T")


@pytest.mark.processes
def test_node_order_does_not_depend_on_hash_seeds():
    path = Path(__file__).parents[2] / "examples" / "ontology.ttl"
    load = f"from vfctl.graph.loaders import load_graph; g = load_graph({str(path)!r})"
    code = f"{load}; print(g.labels, g.edges, g.clusters)"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_odd_literals_and_addresses_leak_no_warning(caplog, recwarn):
    with caplog.at_level(logging.DEBUG):
        load(f':a a :T ; :n "x"^^xsd:integer, "{"9" * 5000}"^^xsd:integer, "b"^^xsd:dateTime ; :u <http://e/{{}}> .')
    assert [record for record in caplog.records if record.name.startswith("rdflib")] == []
    assert len(recwarn) == 0
    assert logging.getLogger("rdflib").level == logging.NOTSET


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("g.ttl", f"{PREFIXES}:a a :T ;\n\n:b b .", r"g.ttl: line \d+: not Turtle"),
        ("g.ttl", ":a :b :c .", r"g.ttl: line 1: not Turtle \(.*[Pp]refix"),
        ("g.ttl", "[" * 5000, "g.ttl: .*not Turtle"),
        ("g.ttl", f"{PREFIXES}owl:Thing a owl:Class .", "g.ttl: holds no class"),
        ("g.nt", "<urn:a> <urn:b>\n", "g.nt: .*not Turtle"),
        (
            "g.rdf",
            "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\n<a></rdf:RDF>",
            "g.rdf: line 2, column 6: not XML",
        ),
        ("g.rdf", "<rdf:RDF/>", "g.rdf: line 1, column 10: not XML|not RDF/XML"),
        ("g.owl", "<Ontology xmlns='http://www.w3.org/2002/07/owl#'/>", "g.owl: OWL/XML is not read"),
        ("g.owl", "Prefix(:=<http://e#>)\nOntology(<http://e>)", "g.owl: OWL in functional"),
        ("g.ofn", "Ontology: <http://e>", "g.ofn: OWL in functional or Manchester"),
    ],
)
def test_what_is_wrong_is_said_and_where(name, text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    with pytest.raises(InputError, match=said) as error:
        load_graph(name)
    assert "\n" not in error.value.message


RDF_HEAD = "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://e/'>"


def test_a_billion_laughs_in_rdf_xml_end_early(tmp_path):
    entities = '<!ENTITY l0 "hahahahaha">' + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 30))
    path = tmp_path / "bomb.rdf"
    path.write_text(f"<!DOCTYPE rdf:RDF [{entities}]>{RDF_HEAD}<T><p>&l29;</p></T></rdf:RDF>")
    with pytest.raises(InputError, match=r"bomb\.rdf: .*(unfold to more than 16 times|amplification)"):
        load_graph(path)


def test_external_entities_are_not_fetched(tmp_path, no_network):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = tmp_path / "g.rdf"
    for place in (secret.as_uri(), "http://127.0.0.1:9/x"):
        path.write_text(
            f'<!DOCTYPE rdf:RDF SYSTEM "http://127.0.0.1:9/d" [<!ENTITY x SYSTEM "{place}">]>'
            f"{RDF_HEAD}<T rdf:about='http://e/a'><label xmlns='http://www.w3.org/2000/01/rdf-schema#'>&x;</label></T></rdf:RDF>"
        )
        assert load_graph(path).labels == ("a", "T")
