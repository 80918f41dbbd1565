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
        latency: server's time stamp to the arrival of the message's last byte.
        connect: first packet of the TCP connect to the end of the WebSocket handshake; of the whole run.
        messages, bytes: received within the window; bytes with WebSocket framing.
        frames: those of the messages that carry states (FullGraph, PositionUpdate).
        gaps: rounds that were missing within the window.
        user_space_stamps: arrivals that had no stamp of the kernel and were taken when they were read.
        errors: failures by kind, of the whole run.
    """

    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    connect: LatencyHistogram = field(default_factory=LatencyHistogram)
    messages: int = 0
    bytes: int = 0
    frames: int = 0
    gaps: int = 0
    user_space_stamps: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    _latencies_us: list[int] = field(default_factory=list)
    _connects_us: list[int] = field(default_factory=list)

    def record_latency(self, latency_us: int) -> None:
        """One message; kept in a short list, since the histogram takes thousands at the price of one."""
        self._latencies_us.append(latency_us)
        if len(self._latencies_us) >= _FLUSH_AT:
            self.flush()

    def record_connect(self, connect_us: int) -> None:
        """One completed handshake."""
        self._connects_us.append(connect_us)

    def flush(self) -> None:
        """Put what waits into the histograms."""
        self.latency.record(np.array(self._latencies_us, np.int64))
        self.connect.record(np.array(self._connects_us, np.int64))
        self._latencies_us.clear()
        self._connects_us.clear()

    def merge(self, other: Observations) -> None:
        """Add what another process has seen."""
        self.flush()
        other.flush()
        self.latency.merge(other.latency)
        self.connect.merge(other.connect)
        self.messages += other.messages
        self.bytes += other.bytes
        self.frames += other.frames
        self.gaps += other.gaps
        self.user_space_stamps += other.user_space_stamps
        self.errors.update(other.errors)


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
