"""What a generator process has seen: counted as it happens, merged by the parent."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.loadtest.generator.latency_windows import LatencyBlocks
from vfctl.metrics import LatencyHistogram

_FLUSH_AT: Final = 8192


def _values() -> array[int]:
    """Values that wait for a histogram: int64, appended one by one or by the thousand."""
    return array("q")


@dataclass(slots=True)
class Observations:
    """What the clients of one role have received within one stage.

    Attributes:
        latency: server's time stamp to the arrival of the message's last byte, by the kernel's stamp.
        latency_user: the same to the moment the generator has read it.
        latency_corrected: the kernel's arrival against the schedule: from when the round was promised, and with the
            rounds that were promised and did not come.
        voice: from a simulated speaker's mouth to a listener's ear.
        messages, bytes: received; bytes with WebSocket framing.
        frames: those of the messages that carry states (FullGraph, PositionUpdate).
        gaps, duplicates, reordered: rounds that were missing, came twice or came too late.
        sampled, wrong: frames that were decoded whole, and those of them that were not what they should be.
        full_buffers: times that a receive buffer was found full.
        user_space_stamps: arrivals that had no stamp of the kernel and were taken when they were read.
        recent: latencies go here as well, for a live display.
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
    _kernel_us: array[int] = field(default_factory=_values)
    _user_us: array[int] = field(default_factory=_values)
    _schedule_us: array[int] = field(default_factory=_values)
    _voice_us: array[int] = field(default_factory=_values)

    def record(self, kernel_us: int, user_us: int) -> None:
        """One message's latency.

        What is recorded is kept in short arrays first: a histogram takes thousands at the price of one.
        """
        self._kernel_us.append(kernel_us)
        self._user_us.append(user_us)
        if len(self._user_us) >= _FLUSH_AT:
            self.flush()

    def record_round(
        self,
        size: int,
        kernel_us: npt.NDArray[np.int64],
        user_us: npt.NDArray[np.int64],
        schedule_us: npt.NDArray[np.int64],
    ) -> None:
        """A round of messages, int64 [messages] each, of `size` bytes together; none is missing before any of them."""
        self.messages += len(kernel_us)
        self.frames += len(kernel_us)
        self.bytes += size
        self._kernel_us.frombytes(kernel_us.tobytes())
        self._user_us.frombytes(user_us.tobytes())
        self._schedule_us.frombytes(schedule_us.tobytes())
        if len(self._user_us) >= _FLUSH_AT:
            self.flush()

    def record_against_schedule(self, latency_us: int) -> None:
        """One round, be it in time, late or missed."""
        self._schedule_us.append(latency_us)
        if len(self._schedule_us) >= _FLUSH_AT:
            self.flush()

    def record_voice(self, latency_us: int) -> None:
        """One piece of speech."""
        self._voice_us.append(latency_us)
        if len(self._voice_us) >= _FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Put what waits into the histograms."""
        for waiting, histograms in (
            (self._kernel_us, (self.latency, self.recent)),
            (self._schedule_us, (self.latency_corrected,)),
            (self._user_us, (self.latency_user,)),
            (self._voice_us, (self.voice,)),
        ):
            if waiting:
                values = np.array(waiting, np.int64)
                del waiting[:]
                for histogram in histograms:
                    if histogram is not None:
                        histogram.record(values)

    def merge(self, other: Observations) -> None:
        """Add what another process, role or stage has seen."""
        self.flush()
        other.flush()
        for name in ("latency", "latency_user", "latency_corrected", "voice"):
            getattr(self, name).merge(getattr(other, name))
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


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


def merged(parts: Iterable[Observations]) -> Observations:
    """All of them together."""
    whole = Observations()
    for part in parts:
        whole.merge(part)
    return whole


@dataclass(slots=True)
class Connects:
    """What connecting has shown, over the whole run.

    Attributes:
        connect: first packet of the TCP connect to the end of the WebSocket handshake.
        reconnect: from the loss of a connection to the end of the next handshake, back-off included.
        errors: failures of all sorts, by kind.
    """

    connect: LatencyHistogram = field(default_factory=LatencyHistogram)
    reconnect: LatencyHistogram = field(default_factory=LatencyHistogram)
    errors: Counter[str] = field(default_factory=Counter)
    _connects_us: array[int] = field(default_factory=_values)
    _reconnects_us: list[int] = field(default_factory=list)

    def record(self, connect_us: int, lost_for_us: int | None) -> None:
        """One completed handshake, and how long the connection had been lost if it had been."""
        self._connects_us.append(connect_us)
        if lost_for_us is not None:
            self._reconnects_us.append(lost_for_us)

    def flush(self) -> None:
        """Put what waits into the histograms."""
        for waiting, histogram in ((self._connects_us, self.connect), (self._reconnects_us, self.reconnect)):
            histogram.record(np.array(waiting, np.int64))
            del waiting[:]

    def merge(self, other: Connects) -> None:
        """Add what another process has seen."""
        self.flush()
        other.flush()
        self.connect.merge(other.connect)
        self.reconnect.merge(other.reconnect)
        self.errors.update(other.errors)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How clients fare at a moment.

    Attributes:
        target: clients that are to be there.
        connected: connected now.
        failed: never reached Connected, and will not.
        lost: were connected, are not now, and should be.
        away: are not connected, as their role has it.
        connecting: on their first way to Connected.
        reconnects: retries that ended in an open connection, so far.
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
        return Outcome(
            self.target + other.target,
            self.connected + other.connected,
            self.failed + other.failed,
            self.lost + other.lost,
            self.away + other.away,
            self.connecting + other.connecting,
            self.reconnects + other.reconnects,
        )


@dataclass(slots=True)
class StageSeen:
    """A stage as the clients have seen it.

    Attributes:
        outcomes: by role, at its end.
        roles: what clients have received, by role.
        blocks: the latencies of attentive clients, by time.
    """

    outcomes: list[Outcome]
    roles: list[Observations]
    blocks: LatencyBlocks = field(default_factory=LatencyBlocks)
