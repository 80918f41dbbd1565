"""What reading a recording found besides its messages: losses, notes, metadata and connections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

MAX_LOSSES: Final = 10_000
"""A file that is damaged in more places has the further ones summed up in the last entry, so that memory stays flat."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One place of a recording that could not be read.

    Attributes:
        offset: byte offset in the file (in what it unpacks to, if it is compressed).
        reason: what was found there and what was expected.
        bytes: how many bytes are lost, of the file or of the message (a packet that was never caught has none in the
            file); 0 where nothing is lost (a checksum over the whole file, an end that is missing).
        cut_off: the file ends here, too early.
        places: how many places this entry stands for.
    """

    offset: int
    reason: str
    bytes: int
    cut_off: bool = False
    places: int = 1


class LossLog(list[Loss]):
    """Losses in the order in which they were found, at most MAX_LOSSES of them."""

    def note(self, offset: int, reason: str, lost_bytes: int, *, cut_off: bool = False) -> None:
        """Take down one more."""
        if len(self) < MAX_LOSSES:
            self.append(Loss(offset, reason, lost_bytes, cut_off))
            return
        last = self[-1]
        reason = "further places" if last.places == 1 else last.reason
        self[-1] = replace(last, reason=reason, bytes=last.bytes + lost_bytes, places=last.places + 1)

    @property
    def places(self) -> int:
        """How many places there were, those that were summed up included."""
        return sum(loss.places for loss in self)


MAX_CONNECTIONS: Final = 100_000
"""Connections that are described; further ones only have their numbers."""


@dataclass(slots=True)
class Report:
    """Filled while a recording is read.

    Attributes:
        losses: what could not be read.
        notes: what was left out though nothing is wrong with it: text messages, channels of others, …
        metadata: what the recorder noted, str to str.
        connections: what each connection is, by its number: addresses, URL.
    """

    losses: LossLog = field(default_factory=LossLog)
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    connections: dict[int, str] = field(default_factory=dict)

    def describe(self, connection: int, text: str) -> None:
        """Say what a connection is, unless it has been said."""
        if len(self.connections) < MAX_CONNECTIONS:
            self.connections.setdefault(connection, text)

    def clear(self) -> None:
        """Forget all, before a recording is read once more."""
        self.losses.clear()
        self.notes.clear()
        self.metadata.clear()
        self.connections.clear()
