"""What a connection asks for in its URL: encoding, trailer, metadata, voice, notices. And its filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from vfctl.errors import UsageError
from vfctl.protocol import EVERYTHING, Filter


class Encoding(StrEnum):
    """How node sections are encoded."""

    RAW = "raw"
    LZ4 = "lz4"
    COMPACT = "compact"

    @property
    def allowed(self) -> tuple[Encoding, ...]:
        """The encodings that are served if this one is the limit: it, and those that need less bandwidth."""
        encodings = tuple(Encoding)
        return encodings[encodings.index(self) :]


@dataclass(frozen=True, slots=True)
class Variant:
    """The form in which a connection gets states. Connections with equal variants get the same bytes."""

    encoding: Encoding = Encoding.RAW
    timed: bool = False
    metadata: bool = False
    filter: Filter = EVERYTHING

    def with_filter(self, criteria: Filter) -> Variant:
        """The same form with another filter."""
        return replace(self, filter=criteria)


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """All options of a connection's URL: `/ws?encoding=…&timed=1&metadata=1&voice=1&notices=1`."""

    variant: Variant = Variant()
    voice: bool = False
    notices: bool = False

    @classmethod
    def from_query(cls, query: Mapping[str, str], limit: Encoding = Encoding.RAW) -> ConnectionOptions:
        """Read the parameters of the URL. Unknown ones are ignored.

        Args:
            limit: encodings that need more bandwidth than this one are not served.

        Raises:
            UsageError: a value that a parameter does not accept, or an encoding beyond the limit.
        """
        try:
            encoding = Encoding(query.get("encoding", Encoding.RAW))
        except ValueError:
            raise UsageError(
                f"encoding={query['encoding']!r} is unknown; the encodings are {', '.join(Encoding)}"
            ) from None
        if encoding not in limit.allowed:
            raise UsageError(
                f"this server does not serve encoding={encoding}; connect with "
                + " or ".join(f"?encoding={allowed}" for allowed in limit.allowed)
            )
        timed, metadata, voice, notices = (_switch(query, name) for name in ("timed", "metadata", "voice", "notices"))
        return cls(Variant(encoding, timed, metadata), voice, notices)


def _switch(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "0")
    if value not in ("0", "1"):
        raise UsageError(f"{name}={value!r} is unknown; expected 0 or 1")
    return value == "1"
