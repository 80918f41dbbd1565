"""GraphML of networkx, yEd and Gephi, and what is wrong with others."""

from pathlib import Path

import networkx as nx
import pytest

from vfctl.errors import InputError
from vfctl.graph.loaders import load_graph
from vfctl.graph.loaders.graphml import load_graphml

DATA = Path(__file__).parent / "data"
HEAD = '<?xml version="1.0"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'


def load(body, head=HEAD):
    return load_graphml(Path("g.graphml"), f"{head}{body}</graphml>".encode())


def test_what_networkx_writes(tmp_path):
    written = nx.DiGraph()
    written.add_node("x", label="Ex & why", kind="class", level=2, community="left")
    written.add_node("y", name="Ypsilon", type="property", level=0, community="right")
    written.add_edge("x", "y", weight=0.25)
    path = tmp_path / "pair.graphml"
    nx.write_graphml(written, path)
    graph = load_graph(path)
    assert graph.labels == ("Ex & why", "Ypsilon")
    assert graph.kinds == ("class", "property")
    assert graph.depths.tolist() == [2, 0]
    assert graph.clusters.tolist() == [0, 1]
    assert graph.edges.tolist() == [(0, 1, 0.25)]


def test_integer_ids_of_networkx_stay(tmp_path):
    path = tmp_path / "tree.graphml"
    nx.write_graphml(nx.DiGraph([(10, 20), (10, 30), (30, 40)]), path)
    graph = load_graph(path)
    assert graph.ids.tolist() == [10, 20, 30, 40]
    assert graph.depths.tolist() == [0, 1, 1, 2]


def test_yed_labels_nested_graphs_and_ports():
    graph = load_graph(DATA / "yed.graphml")
    assert graph.labels == ("Back office", "Ledger & tax", "Shop")
    assert graph.edges.tolist() == [(2, 1, 1.0), (0, 1, 1.0)]


def test_defaults_gephi_names_and_edges_before_their_nodes():
    graph = load("""<key id="k" for="node" attr.name="Modularity Class"><default>3</default></key>
<key id="w" for="edge" attr.name="Weight"><default>2.5</default></key>
<graph edgedefault="undirected"><edge source="a" target="b"/><edge source="b" target="c"><data key="w">4</data></edge>
<node id="a"/><node id="b"><data key="k">8</data></node><node id="c"/></graph>""")
    assert graph.clusters.tolist() == [3, 8, 3]
    assert graph.edges["weight"].tolist() == [2.5, 4.0]


def test_files_in_another_encoding(tmp_path):
    path = tmp_path / "latin.graphml"
    path.write_bytes(
        '<?xml version="1.0" encoding="ISO-8859-1"?><graphml><graph><node id="Zoë"/></graph></graphml>'.encode(
            "latin-1"
        )
    )
    assert load_graph(path).labels == ("Zoë",)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<graph>\n<node id='a'>\n</graph>", r"line 5, column 3: not XML \(mismatched tag\)"),
        ("<graph>\n<node/></graph>", "line 4: <node> without 'id'"),
        ("<graph><node id='a'/>\n<edge source='a'/></graph>", "line 4: <edge> without 'target'"),
        (
            "<graph><node id='a'/>\n<edge source='a' target='b'/></graph>",
            "line 4: the target, node 'b', does not exist",
        ),
        ("<graph><node id='a'/>\n\n<node id='a'/></graph>", "line 5: node 'a' is defined a second time"),
        ("<graph>\n<hyperedge/></graph>", "line 4: a hyperedge"),
        ("<graph></graph>", "holds no node"),
        (
            "<key id='d' for='node' attr.name='depth'/><graph>\n<node id='a'><data key='d'>deep</data></node></graph>",
            "line 4: the depth is 'deep'",
        ),
        *(
            (
                "<key id='w' for='edge' attr.name='weight'/><graph><node id='a'/><node id='b'/>\n"
                f"<edge source='a' target='b'><data key='w'>{weight}</data></edge></graph>",
                f"line 4: the weight is '{weight}'",
            )
            for weight in ("NaN", "-1", "0", "INF", "heavy", "")
        ),
    ],
)
def test_what_is_wrong_is_said_and_where(body, said):
    with pytest.raises(InputError, match=said) as error:
        load(body)
    assert error.value.message.startswith("g.graphml: ")


@pytest.mark.parametrize("encoding", ["none-such", "utf-7", "shift_jis"])
def test_encodings_that_cannot_be_read(encoding):
    with pytest.raises(InputError, match=r"encoding|not XML"):
        load("", head=f'<?xml version="1.0" encoding="{encoding}"?><graphml>')


def laughs(root):
    lines = ['<!ENTITY l0 "ha">', *(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 30))]
    return f'<?xml version="1.0"?>\n<!DOCTYPE {root} [\n' + "\n".join(lines) + "\n]>\n"


def test_a_billion_laughs_are_refused(tmp_path):
    path = tmp_path / "bomb.graphml"
    path.write_text(laughs("graphml") + "<graphml><graph><node id='&l29;'/></graph></graphml>")
    with pytest.raises(InputError, match=r"bomb\.graphml: line 3: declares the entity 'l0'"):
        load_graph(path)


def test_external_entities_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = tmp_path / "g.graphml"
    path.write_text(
        f'<!DOCTYPE graphml [<!ENTITY x SYSTEM "{secret.as_uri()}">]>\n'
        '<graphml><graph><node id="a">&x;</node></graph></graphml>'
    )
    with pytest.raises(InputError, match="declares the entity 'x'"):
        load_graph(path)


def test_deep_nesting_does_not_crash():
    depth = 20_000
    nested = "".join(f"<node id='{n}'><graph>" for n in range(depth)) + "</graph></node>" * depth
    assert len(load(f"<graph>{nested}</graph>")) == depth
