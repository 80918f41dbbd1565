"""Detects the format of a graph file from its first bytes, and from the extension where these are not enough."""

from __future__ import annotations

import re
from pathlib import Path
from xml.parsers import expat

from vfctl.errors import InputError

FORMATS = ("node-link", "graphml", "edge-list", "turtle", "rdf-xml")

_TURTLE_EXTENSIONS = (".ttl", ".turtle", ".n3", ".nt")
_EDGE_LIST_EXTENSIONS = (".csv", ".tsv", ".edges", ".edgelist")
_XML_EXTENSIONS = {".graphml": "graphml", ".rdf": "rdf-xml", ".owl": "rdf-xml"}

_XML = re.compile(r"<(\?xml|!--|!DOCTYPE|[A-Za-z_][\w.-]*(:[\w.-]+)?[\s/>])")
_TURTLE = re.compile(r"@prefix\b|@base\b|(prefix|base)\s+[\w.-]*:?\s*<|<[^<>\s]*>\s|\[", re.IGNORECASE)
_OTHER_OWL = re.compile(r"(Prefix\(|Ontology\(|Prefix:|Ontology:)")
_LEADING_COMMENTS = re.compile(r"(\s*#[^\n]*\n)+")
_READABLE = "vfctl reads node-link JSON, GraphML, edge lists (CSV) and OWL as Turtle, N-Triples or RDF/XML"
_RESAVE = "save it as Turtle or RDF/XML, as Protégé can"


def detect_format(path: Path, data: bytes, text: str | None) -> str:
    """Return the format of a file, one of FORMATS.

    Args:
        text: `data` as text, or None if it is neither UTF-8 nor UTF-16 (XML may be in other encodings).

    Raises:
        InputError: a format that vfctl knows but does not read, or no text.
    """
    extension = path.suffix.lower()
    head = (data[:4096].decode("latin-1") if text is None else text[:4096]).lstrip()
    if _XML.match(head) and (extension not in _TURTLE_EXTENSIONS or head.startswith("<?xml")):
        return _xml_format(path, data, extension)
    if extension in _TURTLE_EXTENSIONS:
        return "turtle"
    if extension == ".graphml":
        return "graphml"
    if extension == ".json" or head.startswith("{"):
        return "node-link"
    if _OTHER_OWL.match(head):
        raise InputError(f"{path}: OWL in functional or Manchester syntax is not read", hint=_RESAVE)
    if extension in _EDGE_LIST_EXTENSIONS:
        return "edge-list"
    if head.startswith("["):
        return "turtle" if extension in _XML_EXTENSIONS else "node-link"
    if extension in _XML_EXTENSIONS or _TURTLE.match(_LEADING_COMMENTS.sub("", head, count=1).lstrip()):
        return "turtle"
    return "edge-list"


def _xml_format(path: Path, data: bytes, extension: str) -> str:
    root = _root_element(data)
    if root is None:  # not well-formed; the loader reports where
        return _XML_EXTENSIONS.get(extension, "graphml")
    namespace, _, name = root.rpartition(" ")
    if name == "graphml":
        return "graphml"
    if name == "RDF":
        return "rdf-xml"
    if name == "Ontology" and "owl" in namespace:
        raise InputError(f"{path}: OWL/XML is not read", hint=_RESAVE)
    if extension in _XML_EXTENSIONS:
        return _XML_EXTENSIONS[extension]
    raise InputError(f"{path}: XML with the root <{name[:40]}>, expected GraphML or RDF", hint=_READABLE)


class _Found(Exception):  # noqa: N818 - not an error
    pass


def _root_element(data: bytes) -> str | None:
    """`namespace name` of the root element, or None."""

    def found(name: str, _: dict[str, str]) -> None:
        raise _Found(name)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = found
    try:
        parser.Parse(data, True)
    except _Found as element:
        return str(element)
    except (expat.ExpatError, LookupError, ValueError):
        pass
    return None
