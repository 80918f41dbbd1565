"""What the gateways of a server have counted, where each of them and their parent can read it without asking.

The name and the idea are Apache's: one slot a process in memory that all of them share. Every slot has one writer, and
every figure is one aligned word, so nothing is locked; figures of a slot may be of two moments a few µs apart.
"""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Iterator
from typing import Final

COUNTERS: Final = (
    "connections",
    "frames",
    "bytes",
    "skipped",
    "stalled",
    "voice_messages",
    "voice_dropped",
    "voice_skipped",
    "protocol_errors",
    "refused",
)
"""Those of `vfctl.server.gateway.client_manager.Traffic`; a test holds the two together."""

_OTHERS: Final = (
    "began_us",
    "posted_us",
    "capacity",
    "clients",
    "interval_us",
    "wanted_interval_us",
    "tick_write_us",
    "settled",
)


class Slot(ctypes.Structure):
    """The figures of one gateway.

    Attributes:
        began_us: since when it serves, unix time; 0 if no gateway does so here.
        posted_us: when the figures were last brought up to date, unix time.
        capacity: how many clients it can hold.
        clients: connections now, those in their handshake included; always up to date.
        interval_us: the present length of a round.
        wanted_interval_us: and what it would be if there were time for it.
        tick_write_us: what the writes of one tick take.
        settled: 1 if the layout is stable.
        connections, frames, bytes, skipped, stalled, voice_messages, voice_dropped, voice_skipped, protocol_errors,
            refused: see `Traffic`.
    """

    _fields_ = tuple((name, ctypes.c_int64) for name in (*_OTHERS, *COUNTERS))

    began_us: int
    posted_us: int
    capacity: int
    clients: int
    interval_us: int
    wanted_interval_us: int
    tick_write_us: int
    settled: int
    connections: int
    frames: int
    bytes: int
    skipped: int
    stalled: int
    voice_messages: int
    voice_dropped: int
    voice_skipped: int
    protocol_errors: int
    refused: int

    def copy(self) -> Slot:
        """The figures as they are now."""
        return type(self).from_buffer_copy(self)


class RecordingFigures(ctypes.Structure):
    """What has become of a recording that the server makes of itself.

    Attributes:
        began_us: since when, unix time; 0 if there is none.
        messages: taken down.
        bytes: of their payloads.
        dropped: messages that are missing, because the disk or the recorder was too slow for them.
        files: begun so far.
    """

    _fields_ = tuple((name, ctypes.c_int64) for name in ("began_us", "messages", "bytes", "dropped", "files"))

    began_us: int
    messages: int
    bytes: int
    dropped: int
    files: int


class Scoreboard:
    """One slot a gateway. Handed to processes when they are spawned; a slot begins with zeros.

    Args:
        gateways: how many slots there are.

    Attributes:
        recording: what the recorder has counted.
    """

    def __init__(self, gateways: int) -> None:
        # An unlinked file that is mapped into every process which gets it; it goes with the last of them.
        self._slots = multiprocessing.get_context("spawn").RawArray(Slot, gateways)
        self.recording = multiprocessing.get_context("spawn").RawValue(RecordingFigures)

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, number: int) -> Slot:
        return self._slots[number]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    @property
    def clients(self) -> int:
        """Connections of all gateways."""
        return sum(slot.clients for slot in self._slots)

    @property
    def capacity(self) -> int:
        """How many clients all gateways that serve can hold."""
        return sum(slot.capacity for slot in self._slots)

    def serving(self) -> list[tuple[int, Slot]]:
        """The gateways that serve now, by number."""
        return [(number, slot) for number, slot in enumerate(self._slots) if slot.began_us]

    def clear(self, number: int) -> None:
        """Forget what a gateway wrote that has died: its clients are gone, and another begins from zero."""
        ctypes.memset(ctypes.byref(self._slots[number]), 0, ctypes.sizeof(Slot))


class Places:
    """What a gateway may still take: --max-clients counts all gateways together.

    Args:
        scoreboard: of the server.
        number: of the gateway.
        capacity: clients that this gateway can hold.
        max_clients: clients that the server takes.
    """

    def __init__(self, scoreboard: Scoreboard, number: int, *, capacity: int, max_clients: int) -> None:
        self.slot = scoreboard[number]
        self.max_clients = max_clients
        self.scoreboard = scoreboard
        self.slot.capacity = capacity

    def take(self) -> str | None:
        """Take a place for a client that knocks.

        Returns:
            why there is none; None if it has been taken.
        """
        slot = self.slot
        # First taken, then counted: of two gateways that see the last place both may refuse, but never both take it.
        slot.clients += 1
        if self.scoreboard.clients > self.max_clients:
            slot.clients -= 1
            return f"this server takes {self.max_clients} clients, and they are all there"
        if slot.clients > slot.capacity:
            slot.clients -= 1
            return f"this gateway holds {slot.capacity} clients, and they are all there; another may have room"
        return None

    def give_back(self) -> None:
        """The client has left, or did not come in after all."""
        self.slot.clients -= 1
