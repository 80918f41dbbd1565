"""What a generator process has seen: counted as it happens, merged by the parent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vfctl.metrics import LatencyHistogram

_FLUSH_AT: Final = 8192


@dataclass(slots=True)
class Observations:
    """Counts within the measured window, and outcomes of the whole run.

    Attributes:
        latency: server's time stamp to the arrival of the message's last byte, by the kernel's stamp.
        latency_user: the same to the moment the generator has read it.
        latency_corrected: the kernel's arrival against the schedule: from when the round was promised, and with the
            rounds that were promised and did not come.
        connect: first packet of the TCP connect to the end of the WebSocket handshake; of the whole run.
        messages, bytes: received within the window; bytes with WebSocket framing.
        frames: those of the messages that carry states (FullGraph, PositionUpdate).
        gaps, duplicates, reordered: rounds that were missing, came twice or came too late, within the window.
        sampled, wrong: frames that were decoded whole, and those of them that were not what they should be.
        full_buffers: times that a receive buffer was found full.
        user_space_stamps: arrivals that had no stamp of the kernel and were taken when they were read.
        errors: failures by kind, of the whole run.
    """

    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    latency_user: LatencyHistogram = field(default_factory=LatencyHistogram)
    latency_corrected: LatencyHistogram = field(default_factory=LatencyHistogram)
    connect: LatencyHistogram = field(default_factory=LatencyHistogram)
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
    errors: Counter[str] = field(default_factory=Counter)
    _latencies_us: list[int] = field(default_factory=list)
    _user_us: list[int] = field(default_factory=list)
    _corrected_us: list[int] = field(default_factory=list)
    _connects_us: list[int] = field(default_factory=list)

    def record_latency(self, kernel_us: int, user_us: int) -> None:
        """One message; kept in short lists, since a histogram takes thousands at the price of one."""
        self._latencies_us.append(kernel_us)
        self._user_us.append(user_us)
        if len(self._latencies_us) >= _FLUSH_AT:
            self.flush()

    def record_corrected(self, latency_us: int) -> None:
        """One round, come or missed, against the schedule."""
        self._corrected_us.append(latency_us)
        if len(self._corrected_us) >= _FLUSH_AT:
            self.flush()

    def record_connect(self, connect_us: int) -> None:
        """One completed handshake."""
        self._connects_us.append(connect_us)

    def flush(self) -> None:
        """Put what waits into the histograms."""
        for waiting, histogram in (
            (self._latencies_us, self.latency),
            (self._user_us, self.latency_user),
            (self._corrected_us, self.latency_corrected),
            (self._connects_us, self.connect),
        ):
            histogram.record(np.array(waiting, np.int64))
            waiting.clear()

    def merge(self, other: Observations) -> None:
        """Add what another process has seen."""
        self.flush()
        other.flush()
        for name in ("latency", "latency_user", "latency_corrected", "connect"):
            getattr(self, name).merge(getattr(other, name))
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.errors.update(other.errors)


_COUNTS: Final = (
    "messages",
    "bytes",
    "frames",
    "gaps",
    "duplicates",
    "reordered",
    "sampled",
    "wrong",
    "full_buffers",
    "user_space_stamps",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the clients of a run fared.

    Attributes:
        target: clients that were to connect.
        connected: connected now.
        failed: never reached Connected, and will not.
        lost: were connected, are not now, and were not asked to leave.
        connecting: on their first way to Connected.
        reconnects: retries that ended in an open connection.
    """

    target: int = 0
    connected: int = 0
    failed: int = 0
    lost: int = 0
    connecting: int = 0
    reconnects: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.target + other.target,
            self.connected + other.connected,
            self.failed + other.failed,
            self.lost + other.lost,
            self.connecting + other.connecting,
            self.reconnects + other.reconnects,
        )
