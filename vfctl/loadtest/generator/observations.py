"""What a generator process has counted and measured; the parent process merges it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.metrics import LatencyHistogram

_FLUSH_AT: Final = 8192

MAX_WINDOWS: Final = 64
"""Of a stage. Beyond it, pairs of windows are merged, so that memory and results do not grow with the run's length."""


def _waiting() -> array[int]:
    """Values that wait for a histogram: int64, appended one by one or by the thousand."""
    return array("q")


def _flush(waiting: array[int], *histograms: LatencyHistogram | None) -> None:
    """Move waiting values into the histograms; a histogram records thousands at the price of one."""
    if waiting:
        values = np.array(waiting, np.int64)
        del waiting[:]
        for histogram in histograms:
            if histogram is not None:
                histogram.record(values)


class LatencyWindows:
    """Latency histograms of equal time windows from the beginning of a stage.

    Comparisons resample whole windows and not single samples, because messages of the same second are alike.

    Attributes:
        width_s: length of a window: 1 s, or a larger power of two.
        histograms: one per window, in order; some may be empty.
    """

    def __init__(self) -> None:
        self.width_s = 1
        self.histograms: list[LatencyHistogram] = []

    def add(self, elapsed_s: float, latencies: LatencyHistogram) -> None:
        """Add latencies that were collected in the half second up to `elapsed_s` after the beginning."""
        number = max(0, int((elapsed_s - 0.25) / self.width_s))
        while number >= MAX_WINDOWS:
            self._double_width()
            number //= 2
        self._window(number).merge(latencies)

    def merge(self, other: LatencyWindows) -> None:
        """Add what another process has seen of the same stage."""
        while self.width_s < other.width_s:
            self._double_width()
        for number, latencies in enumerate(other.histograms):
            self._window(number * other.width_s // self.width_s).merge(latencies)

    def _window(self, number: int) -> LatencyHistogram:
        while len(self.histograms) <= number:
            self.histograms.append(LatencyHistogram())
        return self.histograms[number]

    def _double_width(self) -> None:
        merged_pairs = self.histograms[::2]
        for even, odd in zip(merged_pairs, self.histograms[1::2], strict=False):
            even.merge(odd)
        self.histograms = merged_pairs
        self.width_s *= 2


@dataclass(slots=True)
class Observations:
    """What the clients of one role have received in one stage. Latencies are in µs.

    Attributes:
        latency: from the server's timestamp to the arrival of the message's last byte, by the kernel's timestamp.
        latency_user: the same, up to the moment when the generator read it.
        latency_corrected: corrected for coordinated omission: from when the update was due, with the updates that were
            due and did not come.
        voice: end-to-end voice latency, from a simulated speaker to a listener.
        messages, bytes: received; bytes with WebSocket framing.
        frames: messages that carry states (FullGraph, PositionUpdate).
        gaps, duplicates, reordered: updates that were missing, repeated or late in the sequence.
        sampled, wrong: frames that were decoded whole, and those of them with wrong content.
        full_buffers: how often a receive buffer was found full.
        user_space_stamps: arrivals without a kernel timestamp, timed when they were read.
        recent: also records `latency`, for the live display.
    """

    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    latency_user: LatencyHistogram = field(default_factory=LatencyHistogram)
    latency_corrected: LatencyHistogram = field(default_factory=LatencyHistogram)
    voice: LatencyHistogram = field(default_factory=LatencyHistogram)
    messages: int = 0
    bytes: int = 0
    frames: int = 0
    gaps: int = 0
    duplicates: int = 0
    reordered: int = 0
    sampled: int = 0
    wrong: int = 0
    full_buffers: int = 0
    user_space_stamps: int = 0
    recent: LatencyHistogram | None = None
    _kernel_us: array[int] = field(default_factory=_waiting)
    _user_us: array[int] = field(default_factory=_waiting)
    _corrected_us: array[int] = field(default_factory=_waiting)
    _voice_us: array[int] = field(default_factory=_waiting)

    def record(self, kernel_us: int, user_us: int) -> None:
        """Record the latency of one message, by the kernel's timestamp and by when it was read."""
        self._kernel_us.append(kernel_us)
        self._user_us.append(user_us)
        if len(self._user_us) >= _FLUSH_AT:
            self.flush()

    def record_updates(
        self,
        size: int,
        kernel_us: npt.NDArray[np.int64],
        user_us: npt.NDArray[np.int64],
        corrected_us: npt.NDArray[np.int64],
    ) -> None:
        """Record updates, int64 [updates] each, of `size` bytes together; none is missing before any of them."""
        self.messages += len(kernel_us)
        self.frames += len(kernel_us)
        self.bytes += size
        self._kernel_us.frombytes(kernel_us.tobytes())
        self._user_us.frombytes(user_us.tobytes())
        self._corrected_us.frombytes(corrected_us.tobytes())
        if len(self._user_us) >= _FLUSH_AT:
            self.flush()

    def record_corrected(self, latency_us: int) -> None:
        """Record the corrected latency of one update, whether it came in time, late or never."""
        self._corrected_us.append(latency_us)
        if len(self._corrected_us) >= _FLUSH_AT:
            self.flush()

    def record_voice(self, latency_us: int) -> None:
        """Record the latency of one voice message."""
        self._voice_us.append(latency_us)
        if len(self._voice_us) >= _FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Move waiting values into the histograms."""
        _flush(self._kernel_us, self.latency, self.recent)
        _flush(self._user_us, self.latency_user)
        _flush(self._corrected_us, self.latency_corrected)
        _flush(self._voice_us, self.voice)

    def merge(self, other: Observations) -> None:
        """Add what another process, role or stage has seen."""
        self.flush()
        other.flush()
        for name in ("latency", "latency_user", "latency_corrected", "voice"):
            getattr(self, name).merge(getattr(other, name))
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_COUNTS: Final = tuple(each.name for each in fields(Observations) if each.type == "int")


def merged(parts: Iterable[Observations]) -> Observations:
    """The sum of all parts."""
    whole = Observations()
    for part in parts:
        whole.merge(part)
    return whole


@dataclass(slots=True)
class ConnectStats:
    """Connection attempts over the whole run.

    Attributes:
        connect: in µs, from the TCP connect to the end of the WebSocket handshake.
        reconnect: in µs, from the loss of a connection to the end of the next handshake, with the backoff.
        errors: failures of all kinds, by kind.
    """

    connect: LatencyHistogram = field(default_factory=LatencyHistogram)
    reconnect: LatencyHistogram = field(default_factory=LatencyHistogram)
    errors: Counter[str] = field(default_factory=Counter)
    _connects_us: array[int] = field(default_factory=_waiting)
    _reconnects_us: array[int] = field(default_factory=_waiting)

    def record(self, connect_us: int, lost_for_us: int | None) -> None:
        """Record a completed handshake, and how long the connection had been lost; None if it had not."""
        self._connects_us.append(connect_us)
        if lost_for_us is not None:
            self._reconnects_us.append(lost_for_us)

    def flush(self) -> None:
        """Move waiting values into the histograms."""
        _flush(self._connects_us, self.connect)
        _flush(self._reconnects_us, self.reconnect)

    def merge(self, other: ConnectStats) -> None:
        """Add what another process has seen."""
        self.flush()
        other.flush()
        self.connect.merge(other.connect)
        self.reconnect.merge(other.reconnect)
        self.errors.update(other.errors)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of the clients at a moment.

    Attributes:
        target: clients that should be there.
        connected: connected now.
        failed: never reached Connected, and do not retry.
        lost: were connected, are not now, and should be.
        away: disconnected because their role requires that.
        connecting: on their first way to Connected.
        reconnects: retries that led to an open connection, so far.
    """

    target: int = 0
    connected: int = 0
    failed: int = 0
    lost: int = 0
    away: int = 0
    connecting: int = 0
    reconnects: int = 0

    @property
    def served(self) -> int:
        """Clients that were connected at least once; rates per client are of these."""
        return self.connected + self.lost + self.away

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(slots=True)
class StageObservations:
    """What the clients have seen of one stage.

    Attributes:
        outcomes: for each role, at the end of the stage.
        roles: for each role, what its clients have received.
        windows: latencies of attentive clients, by time.
    """

    outcomes: list[Outcome]
    roles: list[Observations]
    windows: LatencyWindows = field(default_factory=LatencyWindows)
