"""The names under which programs write labels, kinds, depths, clusters and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NODE_NAMES = {
    "label": ("label", "name", "title"),
    "kind": ("kind", "type"),
    "depth": ("depth", "level"),
    "cluster": ("cluster", "community", "modularity_class", "modularity", "group"),
}
_WEIGHT_NAMES = ("weight", "value")  # d3's examples have `value`
_KINDS = ("class", "individual", "property")


def node_attributes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What `Draft.add_node` takes, found among the attributes of a node; empty ones count as missing.

    Names are compared without case, spaces and hyphens. `group` is a cluster, unless it says `class`,
    `individual` or `property` and nothing else tells the kind.
    """
    given = {normalised(name): value for name, value in raw.items() if value is not None and value != ""}
    if str(given.get("group")).lower() in _KINDS and not any(name in given for name in _NODE_NAMES["kind"]):
        given["kind"] = given.pop("group")
    found = {}
    for attribute, names in _NODE_NAMES.items():
        for name in names:
            if name in given:
                found[attribute] = given[name]
                break
    return found


def weight_attribute(raw: Mapping[str, Any]) -> Any:
    """The weight among the attributes of an edge; None if there is none. One that is null or empty is kept as such,
    for the Draft to refuse."""
    given = {normalised(name): value for name, value in raw.items()}
    for name in _WEIGHT_NAMES:
        if name in given:
            return "" if given[name] is None else given[name]
    return None


def normalised(name: str) -> str:
    """`Modularity Class` as `modularity_class`."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")
