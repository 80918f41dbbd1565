"""The filter of a FilterUpdate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KEYS = ("kind", "depth", "cluster", "search")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which nodes a connection receives. The criteria that are set are combined with AND; `Filter()` matches all nodes.

    Equal filters have equal hashes, so connections can be grouped by their filter.

    Attributes:
        kinds: node kinds to keep (`class`, `individual`, …); None keeps all, an empty set keeps none.
        depth: inclusive range of hierarchy depths.
        clusters: cluster numbers to keep; None keeps all, an empty set keeps none.
        search: keep labels that contain this text, in any case; an empty text is no criterion.
    """

    kinds: frozenset[str] | None = None
    depth: tuple[int, int] | None = None
    clusters: frozenset[int] | None = None
    search: str | None = None

    def __post_init__(self) -> None:
        if self.search == "":
            object.__setattr__(self, "search", None)  # frozen, but nobody has used it yet

    @property
    def is_everything(self) -> bool:
        """True if no criterion is set."""
        return self == EVERYTHING

    @classmethod
    def from_json(cls, criteria: object) -> Filter:
        """Read the JSON form, `{"kind":["class"],"depth":[0,3],"cluster":[1,7],"search":"text"}`.

        Raises:
            ValueError: an unknown key, or a criterion of another form. The text names it, and what is expected.
        """
        if not isinstance(criteria, Mapping):
            raise ValueError(f"a filter is a JSON object, not {_kind_of(criteria)}")
        unknown = sorted(set(criteria) - set(_KEYS))
        if unknown:
            raise ValueError(f"unknown filter key {unknown[0][:40]!r}; the keys are {', '.join(_KEYS)}")
        search = criteria.get("search")
        if search is not None and not isinstance(search, str):
            raise ValueError(f"'search' takes a text, not {_kind_of(search)}")
        return cls(
            kinds=_kinds(criteria.get("kind")),
            depth=_depth(criteria.get("depth")),
            clusters=_clusters(criteria.get("cluster")),
            search=search,
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON form, with only the criteria that are set; lists are sorted."""
        criteria: dict[str, Any] = {}
        if self.kinds is not None:
            criteria["kind"] = sorted(self.kinds)
        if self.depth is not None:
            criteria["depth"] = list(self.depth)
        if self.clusters is not None:
            criteria["cluster"] = sorted(self.clusters)
        if self.search is not None:
            criteria["search"] = self.search
        return criteria


EVERYTHING = Filter()
"""The filter that `{}` sets, and that every connection starts with."""


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kinds(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(kind, str) for kind in value):
        raise ValueError(f"'kind' takes a list of texts, not {_kind_of(value)}{_of_others(value)}")
    return frozenset(value)


def _depth(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(_is_int(bound) for bound in value):
        raise ValueError(
            f"'depth' takes two integers, the first and the last level, not {_kind_of(value)}{_of_others(value)}"
        )
    return value[0], value[1]


def _clusters(value: object) -> frozenset[int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(_is_int(cluster) for cluster in value):
        raise ValueError(f"'cluster' takes a list of integers, not {_kind_of(value)}{_of_others(value)}")
    return frozenset(value)


def _of_others(value: object) -> str:
    return " of other things" if isinstance(value, list) else ""


def _kind_of(value: object) -> str:
    """The JSON name of a value's type."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
