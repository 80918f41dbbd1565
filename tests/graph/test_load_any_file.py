"""Whatever the file: a graph or one clear InputError."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vfctl.errors import InputError
from vfctl.graph import Graph
from vfctl.graph.loaders import load_graph

DATA = Path(__file__).parent / "data"
NAMES = ("g", "g.json", "g.graphml", "g.csv", "g.txt", "g.ttl", "g.nt", "g.rdf", "g.owl", "g.xml")
SAMPLES = [*sorted(DATA.iterdir()), *sorted((DATA.parents[2] / "examples").glob("*.[tg][tr]*"))]

bounded = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check(path, content):
    path.write_bytes(content)
    try:
        outcome = load_graph(path)
    except InputError as error:
        outcome = error
    if isinstance(outcome, Graph):
        assert len(outcome) > 0
        assert "\n".join(outcome.labels).encode()
    else:
        assert path.name in outcome.message
        assert "\n" not in outcome.message


def test_the_samples_are_there():
    assert len(SAMPLES) >= 7


@given(name=st.sampled_from(NAMES), content=st.binary(max_size=200))
@example(name="g.ttl", content=b"[" * 20_000)
@example(name="g.json", content=b"[" * 200_000)
@example(name="g.nt", content=b"<a> <b> <c> .")
@example(name="g.xml", content=b"\xff\xfe<\x00a\x00/\x00>\x00")
@bounded
def test_arbitrary_bytes(name, content, tmp_path):
    check(tmp_path / name, content)


TOKENS = (
    *"{}[]<>,;.:#\"'/\t\n @^%&=",
    *('"nodes"', '"links"', '"id"', '"source"', '"target"', "source", "target", "1", "-1e999", "a", "b", "[1]", "null"),
    *("@prefix", "@prefix : <u:> .\n", ":a", "a", "_:b", "<u:x>", "( )", "'x'@en", "true"),
    *("<?xml version='1.0'?>", "<graphml>", "<graph>", "<node id='1'>", "<edge source='1' target='1'/>", "</node>"),
    *("</graph>", "</graphml>", "<data key='weight'>", "</data>", "<rdf:RDF>", "&lt;", "<!DOCTYPE a [", "]>"),
)


@given(name=st.sampled_from(NAMES), parts=st.lists(st.sampled_from(TOKENS), max_size=30))
@bounded
def test_text_of_the_formats_own_tokens(name, parts, tmp_path):
    check(tmp_path / name, "".join(parts).encode())


@given(data=st.data(), sample=st.sampled_from(SAMPLES))
@bounded
def test_damaged_real_files(data, sample, tmp_path):
    content = bytearray(sample.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 30))
        content[at : at + length] = data.draw(st.binary(max_size=6) | st.sampled_from(TOKENS).map(str.encode))
    check(tmp_path / sample.name, bytes(content))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
attribute = st.sampled_from(["id", "source", "target", "weight", "value", "label", "kind", "depth", "cluster", "group"])
few = st.sampled_from([0, 1, "a", 2**32, -1, 0.5, None, [0], "1"])
objects = st.dictionaries(attribute, few | json_values, max_size=5)


@given(nodes=st.lists(objects, max_size=4) | json_values, links=st.lists(objects, max_size=4) | json_values)
@bounded
def test_node_link_of_any_json(nodes, links, tmp_path):
    check(tmp_path / "g.json", json.dumps({"nodes": nodes, "links": links}).encode())


@given(
    rows=st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=4), max_size=5),
    delimiter=st.sampled_from(",;\t "),
)
@bounded
def test_edge_lists_of_any_cells(rows, delimiter, tmp_path):
    check(tmp_path / "g.csv", "\n".join(map(delimiter.join, rows)).encode("utf-8", "surrogatepass"))


def test_missing_directory_and_impossible_names(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        load_graph(tmp_path / "none.json")
    with pytest.raises(InputError, match="is a directory"):
        load_graph(tmp_path)
    with pytest.raises(InputError, match="cannot be a file name"):
        load_graph("a\0b")
    with pytest.raises(InputError, match="cannot be read"):
        load_graph(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty|holds no edge"),
        (b"\x1f\x8b\x08\x00abc", r"is compressed \(gzip\)"),
        (b"PK\x03\x04abc", r"is compressed \(zip\)"),
        (b"\x89PNG\r\n\x1a\n", "byte 0 is not UTF-8"),
        (b"a,b\nb,\x00\n", "null character at character 6"),
        (b"<html><body/></html>", "XML with the root <html>"),
        (b"<gexf xmlns='http://gexf.net/1.3'/>", "XML with the root <gexf>"),
    ],
)
@pytest.mark.parametrize("name", ["g", "g.csv"])
def test_empty_binary_and_foreign_files(content, said, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        load_graph(path)
    assert str(path) in error.value.message


def test_content_outweighs_a_wrong_extension(tmp_path):
    for sample, name in (("networkx.json", "g.csv"), ("yed.graphml", "g.json"), ("protege.owl", "g.txt")):
        path = tmp_path / name
        path.write_bytes((DATA / sample).read_bytes())
        assert load_graph(path).labels == load_graph(DATA / sample).labels
