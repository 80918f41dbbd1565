"""Builds a Graph from the nodes and edges that a loader reads. All loaders share it.

The rules are the same for every format:

- **Ids** are kept if all of them are whole numbers that fit u32. (0xFFFFFFFF does not, because V4 uses it for "no
  node".) Otherwise they become 0 … n-1 in file order. The label of a node without one is its id.
- **Edges** are undirected. Several between the same two nodes, in either direction, become one with the sum of their
  weights. An edge from a node to itself is dropped with a warning, because a layout has no use for it.
- **Kinds** that vfctl does not know become `other`, with a warning.
- **Depths** come from the file. The default is 0. If no node has one and the edges are a directed forest, depths are
  the hops from its roots.
- **Clusters** come from the file. Numbers are kept if all of them are whole and fit int32; otherwise all, and names,
  are numbered in file order. Nodes without one share a further number. If no node has one, `vfctl.graph.analysis` finds
  communities.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from vfctl.errors import InputError
from vfctl.graph.analysis import adjacency, find_communities, hops_from
from vfctl.graph.model import Graph
from vfctl.protocol import EDGE_DTYPE, Edges
from vfctl.protocol.wire import NO_NODE

_log = logging.getLogger(__name__)

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_INT32 = range(-(2**31), 2**31)
_U32_IDS = range(NO_NODE)
_SMALLEST_WEIGHT = float(np.nextafter(np.float32(0), np.float32(1)))
_LARGEST_WEIGHT = float(np.finfo(np.float32).max)
_SHOWN = 40  # characters of a value that an error quotes

_KINDS = {
    **dict.fromkeys(("class", "concept"), "class"),
    **dict.fromkeys(("individual", "namedindividual", "instance"), "individual"),
    **dict.fromkeys(("property", "objectproperty", "datatypeproperty", "annotationproperty", "relation"), "property"),
    "other": "other",
}


class GraphBuilder:
    """Collects nodes and edges in file order. `graph()` makes a Graph of them.

    Args:
        path: the file, named in every error and warning.
        node_place: how an error names a node by its number, such as `nodes[{}]` or `line {}`.
        edge_place: the same for an edge.
        directed: whether edges have a direction. It matters for depths only.
    """

    def __init__(self, path: Path, node_place: str, edge_place: str, *, directed: bool) -> None:
        self.path = path
        self._node_place = node_place
        self._edge_place = edge_place
        self._directed = directed
        self._index: dict[Hashable, int] = {}
        self._labels: list[str] = []
        self._kinds: list[str] = []
        self._depths: list[int | None] = []
        self._clusters: list[int | str | None] = []
        self._edges: list[tuple[Hashable, Hashable, float, int]] = []
        self._attributes: list[Mapping[str, Any]] = []
        self._foreign_kinds: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def __contains__(self, node_id: Hashable) -> bool:
        return node_id in self._index

    def add_node(
        self,
        node_id: Hashable,
        number: int,
        *,
        label: object = None,
        kind: object = None,
        depth: object = None,
        cluster: object = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a node. None is for values that the file does not have.

        Args:
            attributes: all attributes in the file, to be written again with a layout; `id` is the id in the file.

        Raises:
            InputError: the id exists already, or an attribute has the wrong type.
        """
        place = self._node_place.format(number)
        if node_id in self._index:
            self.fail(f"node {quoted(node_id)} is defined a second time", place)
        self._index[node_id] = len(self._labels)
        self._attributes.append({} if attributes is None else attributes)
        self._labels.append(self._label(label, place) or _text_of(node_id))
        self._kinds.append(self._kind(kind, place))
        self._depths.append(None if depth is None else self._depth(depth, place))
        self._clusters.append(None if cluster is None else self._cluster(cluster, place))

    def add_edge(self, source: Hashable, target: Hashable, number: int, weight: object = None) -> None:
        """Add an edge between two nodes, which may be added later. The default weight is 1.

        Raises:
            InputError: a weight that is not a positive, finite number.
        """
        value = 1.0 if weight is None else self._weight(weight, number)
        self._edges.append((source, target, value, number))

    def fail(self, message: str, place: str | None = None, *, hint: str | None = None) -> NoReturn:
        """Raise the InputError that names the file and the place in it."""
        raise InputError(f"{self.path}: {place}: {message}" if place else f"{self.path}: {message}", hint=hint)

    def graph(self, name: str | None = None) -> Graph:
        """Make the Graph. Its default name is that of the file.

        Raises:
            InputError: there is no node, the end of an edge does not exist, the sum of weights overflows, or a label
                is not valid Unicode.
        """
        if not self._labels:
            self.fail("holds no node")
        self._check_labels()
        self._warn_of_kinds()
        ends, weights = self._merged_edges()
        ids = self._ids()
        edges: Edges = np.zeros(len(ends), EDGE_DTYPE)
        edges["source"], edges["target"] = ids[ends[:, 0]], ids[ends[:, 1]]
        edges["weight"] = weights
        return Graph(
            name=name or self.path.stem or str(self.path),
            ids=ids,
            labels=tuple(self._labels),
            kinds=tuple(self._kinds),
            depths=self._all_depths(ends),
            clusters=self._all_clusters(ends, weights),
            edges=edges,
            attributes=tuple(self._attributes),
        )

    def _label(self, value: object, place: str) -> str:
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.fail(f"the label is {quoted(value)}, expected a text", place)
        return _text_of(value).strip()

    def _kind(self, value: object, place: str) -> str:
        if value is None or value == "":
            return "other"
        if not isinstance(value, str | int | float):
            self.fail(f"the kind is {quoted(value)}, expected a text", place)
        text = _text_of(value)
        kind = _KINDS.get(re.split(r"[#/:]", text)[-1].replace(" ", "").lower())
        if kind is None:
            self._foreign_kinds[text] = self._foreign_kinds.get(text, 0) + 1
        return kind or "other"

    def _depth(self, value: object, place: str) -> int:
        depth = whole_number(value)
        if depth is None or depth < 0 or depth not in _INT32:
            self.fail(
                f"the depth is {quoted(value)}, expected a whole number from 0",
                place,
                hint="rename the attribute if it is not a level in a hierarchy",
            )
        return depth

    def _cluster(self, value: object, place: str) -> int | str:
        cluster = whole_number(value)
        if cluster is not None:
            return cluster
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.fail(f"the cluster is {quoted(value)}, expected a number or a name", place)
        return _text_of(value)

    def _weight(self, value: object, number: int) -> float:
        try:
            weight = float(value) if isinstance(value, str | float | int) and value is not True else math.nan
        except (ValueError, OverflowError):
            weight = math.nan
        # As a float32 on the wire it must be finite and above 0 as well.
        if not _SMALLEST_WEIGHT <= weight <= _LARGEST_WEIGHT:
            self.fail(
                f"the weight is {quoted(value)}, expected a number above 0 that a float32 can hold",
                self._edge_place.format(number),
            )
        return weight

    def _check_labels(self) -> None:
        try:
            "\n".join(self._labels).encode()
        except UnicodeEncodeError:
            for index, label in enumerate(self._labels):
                if any("\ud800" <= character <= "\udfff" for character in label):
                    self.fail(f"the label of node {index} has half a surrogate pair, which is not Unicode text")

    def _warn_of_kinds(self) -> None:
        if self._foreign_kinds:
            count, names = sum(self._foreign_kinds.values()), list(self._foreign_kinds)
            shown = ", ".join(map(quoted, names[:3])) + (", …" if len(names) > 3 else "")
            _log.warning("%s: the kind of %d nodes is not one of vfctl's (%s): now 'other'", self.path, count, shown)

    def _merged_edges(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        merged: dict[tuple[int, int], float] = {}
        loops = parallel = 0
        for source, target, weight, number in self._edges:
            a, b = self._index.get(source), self._index.get(target)
            if a is None or b is None:
                end, missing = ("source", source) if a is None else ("target", target)
                self.fail(f"the {end}, node {quoted(missing)}, does not exist", self._edge_place.format(number))
            if a == b:
                loops += 1
                continue
            key = (b, a) if (b, a) in merged else (a, b)
            parallel += key in merged
            merged[key] = merged.get(key, 0.0) + weight
            if merged[key] > _LARGEST_WEIGHT:
                self.fail(
                    f"the weights between {quoted(source)} and {quoted(target)} add up to more than a float32 holds",
                    self._edge_place.format(number),
                )
        if loops:
            _log.warning("%s: dropped %d edges from a node to itself", self.path, loops)
        if parallel:
            _log.info("%s: merged %d edges into others between the same nodes", self.path, parallel)
        return np.array(list(merged), np.int32).reshape(-1, 2), np.array(list(merged.values()), np.float32)

    def _ids(self) -> npt.NDArray[np.uint32]:
        numbers = [whole_number(node_id) for node_id in self._index]
        # Without `is not None`, `None in range` compares None with each of four billion numbers.
        fit = all(number is not None and number in _U32_IDS for number in numbers)
        if fit and len(set(numbers)) == len(numbers):
            return np.array(numbers, np.uint32)
        return np.arange(len(numbers), dtype=np.uint32)

    def _all_depths(self, ends: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        if all(depth is None for depth in self._depths) and self._directed:
            return _forest_depths(len(self), ends)
        return np.array([depth or 0 for depth in self._depths], np.int32)

    def _all_clusters(self, ends: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        if all(cluster is None for cluster in self._clusters):
            return find_communities(len(self), ends, weights)
        return _numbered(self._clusters)


def whole_number(value: object) -> int | None:
    """The value as a whole number, or None. A text must have no leading zeros or spaces."""
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value) and value != "-0" else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def quoted(value: object) -> str:
    """A value for an error message: short and on one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of more digits than Python prints
        return f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _text_of(value: Hashable) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_text_of, value))
    try:
        return str(value)
    except ValueError:  # an int of more digits than Python prints
        return "a huge number"


def _forest_depths(count: int, ends: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Hops from the roots if all edges lead from parent to child, or all from child to parent; else 0."""
    for child in (1, 0):
        parents = np.bincount(ends[:, child], minlength=count)
        if parents.max() <= 1:
            depths, _ = hops_from(adjacency(count, ends), np.flatnonzero(parents == 0).tolist())
            if depths.min() >= 0:
                return depths
    return np.zeros(count, np.int32)


def _numbered(clusters: Sequence[int | str | None]) -> npt.NDArray[np.int32]:
    named: list[Any] = [cluster for cluster in clusters if cluster is not None]
    whole = all(isinstance(cluster, int) for cluster in named)
    rest = max(named) + 1 if whole else 0
    if whole and min(named) in _INT32 and (rest if len(named) < len(clusters) else max(named)) in _INT32:
        return np.array([rest if cluster is None else cluster for cluster in clusters], np.int32)
    numbers: dict[object, int] = {cluster: number for number, cluster in enumerate(dict.fromkeys(named))}
    return np.array([numbers.get(cluster, len(numbers)) for cluster in clusters], np.int32)


_NODE_NAMES = {
    "label": ("label", "name", "title"),
    "kind": ("kind", "type"),
    "depth": ("depth", "level"),
    "cluster": ("cluster", "community", "modularity_class", "modularity", "group"),
}
_WEIGHT_NAMES = ("weight", "value")  # d3's examples have `value`
_GROUP_KINDS = ("class", "individual", "property")


def node_attributes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Find the arguments of `GraphBuilder.add_node` among the attributes of a node. Empty values count as missing.

    Names are compared without case, spaces and hyphens. `group` is a cluster, except if it is `class`, `individual` or
    `property` and there is no other attribute for the kind.
    """
    given = {normalised(name): value for name, value in raw.items() if value is not None and value != ""}
    if str(given.get("group")).lower() in _GROUP_KINDS and not any(name in given for name in _NODE_NAMES["kind"]):
        given["kind"] = given.pop("group")
    found = {}
    for attribute, names in _NODE_NAMES.items():
        for name in names:
            if name in given:
                found[attribute] = given[name]
                break
    return found


def weight_attribute(raw: Mapping[str, Any]) -> Any:
    """Find the weight among the attributes of an edge, or None. A weight that is null or empty is returned as an empty
    text, which the GraphBuilder refuses."""
    given = {normalised(name): value for name, value in raw.items()}
    for name in _WEIGHT_NAMES:
        if name in given:
            return "" if given[name] is None else given[name]
    return None


def normalised(name: str) -> str:
    """Lower case, with underscores: `Modularity Class` becomes `modularity_class`."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")
