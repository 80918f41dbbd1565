"""Types of scenario keys that pydantic reads from another form: quantities with units, and filters as JSON.

Generator processes load the roles and stages, but not pydantic. So the schemas are made where scenarios are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

from vfctl.errors import UsageError
from vfctl.protocol import Filter
from vfctl.quantities import parse_byte_rate, parse_count, parse_duration_s, parse_rate_hz, parse_size_bytes

if TYPE_CHECKING:
    from pydantic_core import CoreSchema


class _Quantity:
    """Reads a text such as `10s` as a number. A plain number, in or out of quotes, is left to pydantic.

    Args:
        parse: reads the text; the second argument is the name of the key.
        factor: how many of the field's units one unit of `parse` is.
    """

    def __init__(self, parse: Callable[[str, str], float], factor: float = 1) -> None:
        self._parse = parse
        self._factor = factor

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.with_info_before_validator_function(self._read, handler(source))

    def _read(self, value: object, info: Any) -> object:
        if not isinstance(value, str) or value.strip().replace(".", "", 1).isdigit():
            return value
        try:
            number = self._parse(value, info.field_name)
        except UsageError as error:
            raise ValueError(f"{error.message}: {error.hint}") from None
        return number * self._factor if self._factor != 1 else number


COUNT: Final = _Quantity(parse_count)
"""Such as 1000 or "1k"."""

SECONDS: Final = _Quantity(parse_duration_s)
"""Such as 10, "10s" or "1.5min"."""

MILLISECONDS: Final = _Quantity(parse_duration_s, factor=1000)
"""Such as 50 or "50ms"."""

HERTZ: Final = _Quantity(parse_rate_hz)
"""Such as 20 or "20Hz"."""

BYTES: Final = _Quantity(parse_size_bytes)
"""Such as 4096 or "4KiB"."""

BYTES_PER_S: Final = _Quantity(lambda text, key: round(parse_byte_rate(text, key)))
"""Such as 20000 or "20kB/s"."""


def parse_filter(criteria: object) -> Filter:
    """A filter from its JSON (or TOML) form.

    Raises:
        UsageError: it is no filter.
    """
    try:
        return Filter.from_json(criteria)
    except ValueError as error:
        raise UsageError(f"filter: {error}", hint='for example {"kind":["class"],"depth":[0,3]}') from None


class _FromJson:
    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self._read)

    def _read(self, criteria: object) -> Filter:
        if isinstance(criteria, Filter):
            return criteria
        try:
            return parse_filter(criteria)
        except UsageError as error:
            raise ValueError(f"{error.message.removeprefix('filter: ')}; {error.hint}") from None


JsonFilter = Annotated[Filter, _FromJson()]
"""A Filter in its JSON form."""
