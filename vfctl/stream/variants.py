"""What a connection asks for in its URL, and what it watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from vfctl.errors import UsageError
from vfctl.protocol import EVERYTHING, Filter


class Encoding(StrEnum):
    """How node sections travel."""

    RAW = "raw"
    LZ4 = "lz4"
    COMPACT = "compact"

    @property
    def allowed(self) -> tuple[Encoding, ...]:
        """The encodings that are served if this one is the limit: it, and those that take less."""
        encodings = tuple(Encoding)
        return encodings[encodings.index(self) :]


@dataclass(frozen=True, slots=True)
class Variant:
    """What a connection speaks, from its URL, and what it watches. Equal variants get the same bytes."""

    encoding: Encoding = Encoding.RAW
    timed: bool = False
    metadata: bool = False
    filter: Filter = EVERYTHING

    def with_filter(self, criteria: Filter) -> Variant:
        """The same connection, watching something else."""
        return replace(self, filter=criteria)


@dataclass(frozen=True, slots=True)
class Subscription:
    """All that a connection's URL chooses: `/ws?encoding=…&timed=1&metadata=1&voice=1&notices=1`."""

    variant: Variant = Variant()
    voice: bool = False
    notices: bool = False

    @classmethod
    def from_query(cls, query: Mapping[str, str], limit: Encoding = Encoding.RAW) -> Subscription:
        """Read the parameters of the URL; those that are not ours are left alone.

        Args:
            limit: an encoding that takes more than this one is not served.

        Raises:
            UsageError: a value that the parameter does not take, or an encoding beyond the limit.
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
        raise UsageError(f"{name}={value!r} is neither 0 nor 1")
    return value == "1"
