"""What reading a recording found besides its messages: losses, notes, metadata and connections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

MAX_LOSSES: Final = 10_000
"""Further damaged places are summed up in the last entry, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One damaged place of a recording.

    Attributes:
        offset: byte offset in the (uncompressed) file.
        reason: what was found there and what was expected.
        bytes: number of lost bytes, of the file or of a message whose packets were not captured. 0 if nothing is lost,
            such as for a wrong checksum over the whole file.
        cut_off: whether the file ends here too early.
        places: number of places that this entry sums up.
    """

    offset: int
    reason: str
    bytes: int
    cut_off: bool = False
    places: int = 1


class LossLog(list[Loss]):
    """Losses in the order of their discovery, at most MAX_LOSSES."""

    def note(self, offset: int, reason: str, lost_bytes: int, *, cut_off: bool = False) -> None:
        """Add a loss."""
        if len(self) < MAX_LOSSES:
            self.append(Loss(offset, reason, lost_bytes, cut_off))
            return
        last = self[-1]
        reason = "further places" if last.places == 1 else last.reason
        self[-1] = replace(last, reason=reason, bytes=last.bytes + lost_bytes, places=last.places + 1)

    @property
    def places(self) -> int:
        """Number of damaged places, including those summed up."""
        return sum(loss.places for loss in self)


MAX_CONNECTIONS: Final = 100_000
"""Most connections that are described. Further ones have only a number."""


@dataclass(slots=True)
class Report:
    """What reading a recording found besides its messages. It is filled while the recording is read.

    Attributes:
        losses: what could not be read.
        notes: what was left out although it is not damaged: text messages, foreign channels, ….
        metadata: key and value pairs that the recorder stored.
        connections: addresses or URL of each connection, by its number.
    """

    losses: LossLog = field(default_factory=LossLog)
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    connections: dict[int, str] = field(default_factory=dict)

    def describe(self, connection: int, text: str) -> None:
        """Set the description of a connection, unless it has one."""
        if len(self.connections) < MAX_CONNECTIONS:
            self.connections.setdefault(connection, text)

    def clear(self) -> None:
        """Remove everything, before the recording is read again."""
        self.losses.clear()
        self.notes.clear()
        self.metadata.clear()
        self.connections.clear()
