"""Ontologies: OWL and RDFS in Turtle, N-Triples and RDF/XML, parsed by rdflib.

Nodes and their kinds:

- `class`: an owl:Class or rdfs:Class; anything that has or is a superclass, is a domain or range, or has instances.
- `property`: an owl:ObjectProperty, owl:DatatypeProperty, owl:AnnotationProperty, rdf:Property and similar; anything
  that has a domain or range; both ends of rdfs:subPropertyOf and owl:inverseOf.
- `individual`: an owl:NamedIndividual, or an instance of a class. Blank nodes, too.
- `other`: anything else that has a relation.

The terms of RDF, RDFS, OWL, XSD and SWRL (owl:Thing among them), the owl:Ontology header and literals are no nodes.
Edges have weight 1. They are superclasses and superproperties, equivalents, inverses, owl:sameAs, instance-of, domain
and range, and every relation between two nodes. An anonymous class (a restriction, a union, a list) stands for the
named ones in it: `subClassOf [onProperty p; someValuesFrom C]` is an edge to C.

The depth of a class or property is one more than that of its highest named parent. The depth of an individual is one
more than that of its highest class. Nothing is fetched: owl:imports are not followed.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import rdflib
from rdflib import OWL, RDF, RDFS, SKOS, XSD, BNode, Literal, URIRef
from rdflib.term import Node

from vfctl.errors import InputError
from vfctl.graph.loaders.builder import GraphBuilder, quoted
from vfctl.graph.model import Graph

_SYNTAXES = {"turtle": "Turtle", "xml": "RDF/XML"}

_SWRL = "http://www.w3.org/2003/11/swrl#"
_VOCABULARIES = (str(RDF), str(RDFS), str(OWL), str(XSD), _SWRL)
_CLASS_TYPES = frozenset({OWL.Class, RDFS.Class, OWL.DeprecatedClass})
_PROPERTY_TYPES = frozenset(
    {
        RDF.Property,
        OWL.ObjectProperty,
        OWL.DatatypeProperty,
        OWL.AnnotationProperty,
        OWL.OntologyProperty,
        OWL.DeprecatedProperty,
        OWL.FunctionalProperty,
        OWL.InverseFunctionalProperty,
        OWL.TransitiveProperty,
        OWL.SymmetricProperty,
        OWL.AsymmetricProperty,
        OWL.ReflexiveProperty,
        OWL.IrreflexiveProperty,
    }
)
_INDIVIDUAL_TYPES = frozenset({OWL.NamedIndividual, OWL.Thing})
_BETWEEN_CLASSES = frozenset({RDFS.subClassOf, OWL.equivalentClass})
_BETWEEN_PROPERTIES = frozenset({RDFS.subPropertyOf, OWL.equivalentProperty, OWL.inverseOf})
_OF_PROPERTIES = frozenset({RDFS.domain, RDFS.range})
_EDGES = _BETWEEN_CLASSES | _BETWEEN_PROPERTIES | _OF_PROPERTIES | {RDF.type, OWL.sameAs}
_INTO_ANONYMOUS = (
    OWL.someValuesFrom,
    OWL.allValuesFrom,
    OWL.hasValue,
    OWL.onClass,
    OWL.unionOf,
    OWL.intersectionOf,
    OWL.complementOf,
    OWL.oneOf,
    RDF.first,
    RDF.rest,
)
_RANKS = {"other": 0, "individual": 1, "class": 2, "property": 3}

Triple = tuple[Node, Node, Node]
Kinds = dict[Node, str]


def load_rdf(path: Path, content: str | bytes, syntax: str) -> Graph:
    """Read an ontology, by the rules of this module and of `vfctl.graph.loaders.builder`.

    Args:
        content: text, or bytes for RDF/XML, because XML declares its encoding itself.
        syntax: `turtle` (N-Triples are Turtle too) or `xml`.

    Raises:
        InputError: it cannot be parsed (names the line), or has no node.
    """
    store = _parse(path, content, syntax)
    triples = _statements(store)
    kinds = _kinds(store, triples)
    depths = _depths(triples, kinds)
    builder = GraphBuilder(path, "node {}", "edge {}", directed=False)
    for number, (node, kind) in enumerate(kinds.items()):
        attributes = {"iri": str(node)} if isinstance(node, URIRef) else None
        builder.add_node(node, number, label=_label(store, node), kind=kind, depth=depths[node], attributes=attributes)
    for number, (source, target) in enumerate(_edges(store, triples, kinds)):
        builder.add_edge(source, target, number)
    if not kinds:
        builder.fail("holds no class, individual or property", hint="vocabulary terms such as owl:Thing do not count")
    return builder.graph()


def _parse(path: Path, content: str | bytes, syntax: str) -> rdflib.Graph:
    # This store keeps file order. The default one iterates over sets, so node ids would change with every run.
    store = rdflib.Graph("SimpleMemory", bind_namespaces="none")
    with _quiet_rdflib():
        try:
            store.parse(data=content, format=syntax, publicID=path.absolute().as_uri())
        except Exception as error:  # rdflib's parsers raise KeyError, IndexError, …
            place = _line_of(error)
            reason = getattr(error, "_why", None) or getattr(error, "getMessage", lambda: None)() or str(error)
            reason = " ".join(str(reason).split()) or type(error).__name__
            raise InputError(
                f"{path}: {f'line {place}: ' if place else ''}not {_SYNTAXES[syntax]} ({reason[:200]})"
            ) from None
    return store


@contextmanager
def _quiet_rdflib() -> Iterator[None]:
    """Suppress rdflib's logs about odd literals and addresses, which do not matter to a graph."""
    logger = logging.getLogger("rdflib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _line_of(error: Exception) -> int | None:
    lines = getattr(error, "lines", None)  # of a Turtle error, from 0
    if isinstance(lines, int):
        return lines + 1
    line = getattr(error, "getLineNumber", lambda: None)()  # of an XML error
    return line if isinstance(line, int) else None


def _statements(store: rdflib.Graph) -> list[Triple]:
    """The statements by subject in file order, without the ontology header, anonymous classes and axioms about
    axioms."""
    headers = set(store.subjects(RDF.type, OWL.Ontology))
    annotations = {
        s
        for s, o in store.subject_objects(RDF.type)
        if isinstance(s, BNode) and _is_vocabulary(o) and o not in _INDIVIDUAL_TYPES
    }
    skipped = headers | annotations
    return [(s, p, o) for s, p, o in store if s not in skipped and o not in headers]


def _kinds(store: rdflib.Graph, triples: Iterable[Triple]) -> Kinds:
    """Every node with its kind, in file order."""
    annotating = set(store.subjects(RDF.type, OWL.AnnotationProperty))
    kinds: Kinds = {}

    def mark(kind: str, *nodes: Node) -> None:
        for node in nodes:
            named = isinstance(node, URIRef) and not _is_vocabulary(node)
            anonymous = isinstance(node, BNode) and kind in ("individual", "other")
            if (named or anonymous) and _RANKS[kind] >= _RANKS[kinds.get(node, "other")]:
                kinds[node] = kind

    for s, p, o in triples:
        if p == RDF.type:
            _mark_typed(mark, s, o)
        elif p in _BETWEEN_CLASSES:
            mark("class", s, o)
        elif p in _BETWEEN_PROPERTIES:
            mark("property", s, o)
        elif p in _OF_PROPERTIES:
            mark("property", s)
            mark("class", o)
        elif p == OWL.sameAs:
            mark("individual", s, o)
        elif not _is_vocabulary(p) and p not in annotating:
            if isinstance(s, BNode) or not isinstance(o, Literal):
                mark("other", s)
            if isinstance(o, URIRef):
                mark("other", o)
    return kinds


def _mark_typed(mark: Callable[..., None], subject: Node, of: Node) -> None:
    if of in _CLASS_TYPES:
        mark("class", subject)
    elif of in _PROPERTY_TYPES:
        mark("property", subject)
    elif of in _INDIVIDUAL_TYPES:
        mark("individual", subject)
    elif not _is_vocabulary(of):
        mark("individual", subject)
        mark("class", of)


def _edges(store: rdflib.Graph, triples: Iterable[Triple], kinds: Collection[Node]) -> Iterator[tuple[Node, Node]]:
    for s, p, o in triples:
        if s not in kinds or not (p in _EDGES or not _is_vocabulary(p)):
            continue
        if o in kinds:
            yield s, o
        elif isinstance(o, BNode):
            yield from ((s, named) for named in _named_within(store, o) if named in kinds)


def _named_within(store: rdflib.Graph, anonymous: BNode) -> Iterator[Node]:
    """The named resources in an anonymous class or list, at any depth."""
    seen: set[Node] = {anonymous}
    waiting: list[Node] = [anonymous]
    while waiting:
        node = waiting.pop()
        for predicate in _INTO_ANONYMOUS:
            for inner in store.objects(node, predicate):
                if inner in seen:
                    continue
                seen.add(inner)
                if isinstance(inner, BNode):
                    waiting.append(inner)
                else:
                    yield inner


def _depths(triples: Iterable[Triple], kinds: Kinds) -> dict[Node, int]:
    parents: dict[Node, list[Node]] = {}
    classes_of: dict[Node, list[Node]] = {}
    for s, p, o in triples:
        if p in (RDFS.subClassOf, RDFS.subPropertyOf) and s in kinds and o in kinds and kinds[s] == kinds[o]:
            parents.setdefault(s, []).append(o)
        elif p == RDF.type and o in kinds:
            classes_of.setdefault(s, []).append(o)
    depths = _levels([node for node, kind in kinds.items() if kind in ("class", "property")], parents)
    for node in kinds:
        if node not in depths:
            depths[node] = 1 + min((depths.get(of, 0) for of in classes_of.get(node, ())), default=-1)
    return depths


def _levels(nodes: list[Node], parents: Mapping[Node, list[Node]]) -> dict[Node, int]:
    """Hops from the nearest root. In a cycle the first node in the file is the root."""
    children: dict[Node, list[Node]] = {}
    for child, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(child)
    levels = {node: 0 for node in nodes if all(parent == node for parent in parents.get(node, ()))}
    for cyclic in (None, *nodes):
        if cyclic in levels:
            continue
        queue = list(levels) if cyclic is None else [cyclic]
        if cyclic is not None:
            levels[cyclic] = 0
        for node in queue:
            for child in children.get(node, ()):
                if child not in levels:
                    levels[child] = levels[node] + 1
                    queue.append(child)
    return levels


def _label(store: rdflib.Graph, node: Node) -> str:
    """The rdfs:label or skos:prefLabel: in English, else without a language, else in any. Without one, the local
    name."""
    for predicate in (RDFS.label, SKOS.prefLabel):
        labels = [
            label for label in store.objects(node, predicate) if isinstance(label, Literal) and str(label).strip()
        ]
        if labels:
            return str(min(labels, key=_language_rank)).strip()
    if isinstance(node, BNode):
        of = next((of for of in store.objects(node, RDF.type) if isinstance(of, URIRef)), None)
        return f"{_label(store, of)} (unnamed)" if of else "(unnamed)"
    return _local_name(str(node))


def _language_rank(label: Literal) -> int:
    language = (label.language or "").lower()
    if language == "en" or language.startswith("en-"):
        return 0
    return 2 if language else 1


def _local_name(iri: str) -> str:
    """The part after the last `#`, `/` or `:`."""
    trimmed = iri.rstrip("#/:")
    name = trimmed[max(trimmed.rfind(mark) for mark in "#/:") + 1 :]
    return unquote(name).strip() or quoted(iri)


def _is_vocabulary(node: Node) -> bool:
    return isinstance(node, URIRef) and str(node).startswith(_VOCABULARIES)
