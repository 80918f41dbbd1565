"""Metrics of a server in memory that all its processes share.

The name and the idea are Apache's: one entry for each process. Every entry has one writer and every metric is one
aligned word, so nothing is locked. The metrics of an entry may be a few µs apart.
"""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final


@dataclass(slots=True)
class Traffic:
    """What a gateway has done since it started. Plain integers, so that the hot path stays fast.

    Attributes:
        connections: completed handshakes.
        frames: PositionUpdates and pending FullGraphs sent to due clients.
        bytes: bytes written, WebSocket framing included.
        skipped: updates dropped by backpressure.
        stalled: clients disconnected because they read nothing.
        voice_messages: VoiceData messages sent.
        voice_dropped: VoiceData messages of clients that exceeded the rate limit.
        voice_skipped: VoiceData messages dropped by backpressure.
        protocol_errors: invalid client messages.
        refused: handshakes refused because the server was full.
    """

    connections: int = 0
    frames: int = 0
    bytes: int = 0
    skipped: int = 0
    stalled: int = 0
    voice_messages: int = 0
    voice_dropped: int = 0
    voice_skipped: int = 0
    protocol_errors: int = 0
    refused: int = 0


COUNTERS: Final = tuple(field.name for field in fields(Traffic))


class Slot(ctypes.Structure):
    """The metrics of one gateway.

    Attributes:
        began_us: unix time in µs since when it serves; 0 if no gateway serves here.
        published_us: unix time in µs of the last `Gateway.publish_metrics`.
        capacity: number of clients that it can hold.
        clients: open connections and handshakes; always current.
        interval_us: present update interval.
        target_interval_us: target interval, without overload.
        tick_write_us: time that the writes of the last tick took.
        settled: 1 if the layout has settled.
        connections, frames, bytes, skipped, stalled, voice_messages, voice_dropped, voice_skipped, protocol_errors,
            refused: see `Traffic`.
    """

    began_us: int
    published_us: int
    capacity: int
    clients: int
    interval_us: int
    target_interval_us: int
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

    _fields_ = tuple((name, ctypes.c_int64) for name in __annotations__)

    def copy(self) -> Slot:
        """A snapshot."""
        return type(self).from_buffer_copy(self)


class RecordingMetrics(ctypes.Structure):
    """Progress of the server's own recording.

    Attributes:
        began_us: unix time in µs of its start; 0 without a recording.
        messages: recorded messages.
        bytes: bytes of their payloads.
        dropped: missing messages, because the disk or the recorder was too slow.
        files: files opened so far.
    """

    began_us: int
    messages: int
    bytes: int
    dropped: int
    files: int

    _fields_ = tuple((name, ctypes.c_int64) for name in __annotations__)


class Scoreboard:
    """One slot for each gateway. Pass it to processes when they are spawned. All metrics begin at zero.

    Args:
        gateways: number of slots.

    Attributes:
        recording: metrics of the recorder.
    """

    def __init__(self, gateways: int) -> None:
        # An unlinked file that is mapped into every process. It is freed with the last of them.
        self._slots = multiprocessing.get_context("spawn").RawArray(Slot, gateways)
        self.recording = multiprocessing.get_context("spawn").RawValue(RecordingMetrics)

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
        """Number of clients that all serving gateways can hold."""
        return sum(slot.capacity for slot in self._slots)

    def serving(self) -> list[tuple[int, Slot]]:
        """The serving gateways with their numbers."""
        return [(number, slot) for number, slot in enumerate(self._slots) if slot.began_us]

    def clear(self, number: int) -> None:
        """Reset the slot of a gateway that has died. Its clients are gone, and its successor begins at zero."""
        ctypes.memset(ctypes.byref(self._slots[number]), 0, ctypes.sizeof(Slot))
