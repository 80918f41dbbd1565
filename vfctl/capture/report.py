"""What a recording has to say besides its messages: what it lost, what was left out, where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vfctl.capture.losses import LossLog

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
