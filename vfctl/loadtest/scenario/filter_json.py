"""Filters as scenarios and the command line have them: the JSON form of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from vfctl.errors import UsageError
from vfctl.protocol import Filter

if TYPE_CHECKING:
    from pydantic_core import CoreSchema


def parse_filter(criteria: object) -> Filter:
    """A filter from its JSON (or TOML) form.

    Raises:
        UsageError: it is none.
    """
    try:
        return Filter.from_json(criteria)
    except ValueError as error:
        raise UsageError(f"filter: {error}", hint='for example {"kind":["class"],"depth":[0,3]}') from None


class _FromJson:
    """Tells pydantic how. It is asked only where scenarios are read: generator processes do without pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(_validate)


def _validate(criteria: object) -> Filter:
    if isinstance(criteria, Filter):
        return criteria
    try:
        return parse_filter(criteria)
    except UsageError as error:
        raise ValueError(f"{error.message.removeprefix('filter: ')}; {error.hint}") from None


JsonFilter = Annotated[Filter, _FromJson()]
"""A Filter that pydantic reads from its JSON form."""
