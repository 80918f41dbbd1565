"""GraphML, as networkx, yEd and Gephi write it.

vfctl parses it with expat, because networkx's reader invents nodes for edges whose end does not exist, merges nodes
that occur twice, and has no line numbers for errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn
from xml.parsers import expat

from vfctl.errors import InputError
from vfctl.graph.loaders.builder import GraphBuilder, node_attributes, weight_attribute
from vfctl.graph.model import Graph


def load_graphml(path: Path, data: bytes) -> Graph:
    """Read the nodes and edges of all graphs in the file, nested ones too, with the attributes that vfctl knows.

    Labels are also read from yEd's `y:NodeLabel`. Ports are not read, because they only say where on a node an edge
    ends. Documents that declare entities are refused, because no program writes them and they can expand without
    bound.

    Raises:
        InputError: not well-formed, an id or an end is missing, a hyperedge, an entity, or anything that a GraphBuilder
            refuses. Names the line.
    """
    reader = _Reader(path)
    reader.read(data)
    builder = GraphBuilder(path, "line {}", "line {}", directed=reader.directed)
    for node in reader.nodes:
        said = reader.defaults["node"] | node.attributes
        attributes = {name: reader.typed(name, text) for name, text in said.items()} | {"id": node.ends[0]}
        builder.add_node(node.ends[0], node.line, **node_attributes(said), attributes=attributes)
    for edge in reader.edges:
        weight = weight_attribute(reader.defaults["edge"] | edge.attributes)
        builder.add_edge(edge.ends[0], edge.ends[1], edge.line, weight)
    return builder.graph()


@dataclass(slots=True)
class _Element:
    """A node (`ends` is its id) or an edge (`ends` are source and target), with its `data` as texts."""

    ends: tuple[str, ...]
    line: int
    attributes: dict[str, str] = field(default_factory=dict)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise ValueError(f"{text} is no boolean")
    return text.lower() in ("true", "1")


_TYPES: Final[dict[str, Callable[[str], object]]] = {
    "boolean": _boolean,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
}


class _Reader:
    """Makes nodes and edges, in file order, of expat's events."""

    def __init__(self, path: Path) -> None:
        self.directed = False
        self.nodes: list[_Element] = []
        self.edges: list[_Element] = []
        self.defaults: dict[str, dict[str, str]] = {"node": {}, "edge": {}}
        self._path = path
        self._types: dict[str, Callable[[str], object]] = {}
        self._names: dict[str, str] = {}  # key id -> attribute name
        self._key: dict[str, str] = {}  # the XML attributes of the open `key`
        self._open: list[_Element] = []  # nodes contain graphs, which contain nodes
        self._data_key: str | None = None
        self._text: list[str] | None = None  # of the open element, if its text matters
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity

    def read(self, data: bytes) -> None:
        parse_xml(self._path, self._parser, data)

    def typed(self, name: str, text: str) -> object:
        """Convert an attribute to its declared type; if that fails, return the text."""
        try:
            return self._types.get(name, str)(text)
        except ValueError:
            return text

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        # By local name, because files without the namespace, or with a misspelt one, are common.
        match qualified.rpartition(" ")[2]:
            case "key":
                self._key = attributes
                key_id = self._required(attributes, "id", "key")
                self._names[key_id] = name = attributes.get("attr.name", key_id)
                if attributes.get("for", "all") in ("node", "all"):
                    self._types[name] = _TYPES.get(attributes.get("attr.type", ""), str)
            case "graph" if not self._open:
                self.directed = attributes.get("edgedefault") == "directed"
            case "node":
                self._open.append(_Element((self._required(attributes, "id", "node"),), self._line))
                self.nodes.append(self._open[-1])
            case "edge":
                ends = tuple(self._required(attributes, end, "edge") for end in ("source", "target"))
                self._open.append(_Element(ends, self._line))
                self.edges.append(self._open[-1])
            case "data":
                self._data_key = self._required(attributes, "key", "data")
                self._text = []
            case "default" | "NodeLabel":
                self._text = []
            case "hyperedge":
                self._fail("a hyperedge, expected edges with two ends")

    def _end(self, qualified: str) -> None:
        match qualified.rpartition(" ")[2]:
            case "node" | "edge":
                self._open.pop()
            case "default":
                self._keep_default(self._taken_text())
            case "NodeLabel":
                self._keep("label", self._taken_text())
            case "data" if self._data_key is not None:
                # The text has been read with yEd's own elements already.
                self._keep(self._names.get(self._data_key, self._data_key), self._taken_text())
                self._data_key = None

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _taken_text(self) -> str | None:
        text = None if self._text is None else "".join(self._text).strip()
        self._text = None
        return text

    def _keep(self, name: str, text: str | None) -> None:
        if self._open and text is not None:
            self._open[-1].attributes[name] = text

    def _keep_default(self, text: str | None) -> None:
        defaults = self.defaults.get(self._key.get("for", ""))
        if defaults is not None and text is not None:
            defaults[self._names[self._key["id"]]] = text

    def _entity(self, name: str, *_: object) -> NoReturn:
        self._fail(f"declares the entity {name!r}, expected a document without entities")

    @property
    def _line(self) -> int:
        return self._parser.CurrentLineNumber

    def _required(self, attributes: dict[str, str], name: str, element: str) -> str:
        value = attributes.get(name)
        return self._fail(f"<{element}> without {name!r}") if value is None else value

    def _fail(self, message: str) -> NoReturn:
        raise InputError(f"{self._path}: line {self._line}: {message}")


_MAX_GROWTH = 16
"""Ontologies use entities for their namespaces, such as `&pizza;Margherita`, and expand to about three times their
size. Expat's own limit is a factor of 100, from 8 MB on."""

_FREE_CHARACTERS = 2**20


def parse_xml(path: Path, parser: expat.XMLParserType, data: bytes) -> None:
    """Parse the whole document with a parser whose handlers are set.

    Raises:
        InputError: not well-formed (names the line), or in an encoding that cannot be read; and what handlers raise.
    """
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset + 1}"
        raise InputError(f"{path}: {place}: not XML ({expat.ErrorString(error.code)})") from None
    except (LookupError, ValueError) as error:  # an encoding that Python does not have, or that expat cannot use
        raise InputError(f"{path}: XML in an encoding that cannot be read ({error})") from None


def refuse_xml_bomb(path: Path, data: bytes) -> None:
    """Refuse a document that expands to far more than its file.

    This protects parsers that have no such limit: rdflib's would run for hours.

    Raises:
        InputError: as for `parse_xml`, or more than 16 times as many characters as the file has bytes, the first
            million free.
    """
    left = _FREE_CHARACTERS + _MAX_GROWTH * len(data)

    def count(text: str) -> None:
        nonlocal left
        left -= len(text)
        if left < 0:
            raise InputError(
                f"{path}: line {parser.CurrentLineNumber}: the entities of this XML unfold to more than"
                f" {_MAX_GROWTH} times the file's size"
            )

    def count_attributes(_: str, attributes: dict[str, str]) -> None:
        for value in attributes.values():
            count(value)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.CharacterDataHandler = count
    parser.StartElementHandler = count_attributes
    parse_xml(path, parser, data)
