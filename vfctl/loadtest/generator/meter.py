"""Measures received messages: latency by timestamp, latency corrected for coordinated omission, order, content."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vfctl.loadtest.generator.behaviour import spoken_at_us
from vfctl.loadtest.generator.compiled_reading import ReadPass
from vfctl.loadtest.generator.content_check import STATE_TYPES, ContentCheck
from vfctl.loadtest.generator.frames import ReceivedMessage
from vfctl.loadtest.generator.observations import LatencyWindows, Observations, Outcome, StageObservations
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.loadtest.scenario.roles import Role
from vfctl.metrics import LatencyHistogram
from vfctl.protocol import Flag, MessageType

SAMPLE_EVERY: Final = 1009
"""One of 1,009 messages is decoded whole; at the beginning of a stage more. It is a prime number, so that
samples do not fall into step with intervals or clients."""

MAX_MISSED_UPDATES: Final = 10_000
"""Updates that one late message can stand for: 8 minutes at 20 Hz."""

SO_MEMINFO: Final = 55
"""Linux: the memory that a socket's queues hold. Python has no name for it."""

_MEMINFO: Final = struct.Struct("@9I")
_SETTLED: Final = int(Flag.SETTLED)
NEVER_NS: Final = 2**63 - 1


@dataclass(slots=True)
class _Stage:
    """What has arrived in a stage, [start_ns, end_ns) in unix time.

    Attributes:
        seen: for each role.
        recent: latencies of attentive clients since the last `drain_recent`.
        windows: latencies that were drained, by time.
    """

    start_ns: int
    end_ns: int
    seen: list[Observations]
    recent: LatencyHistogram
    windows: LatencyWindows = field(default_factory=LatencyWindows)
    outcomes: list[Outcome] = field(default_factory=list)

    def drain_recent(self, now_ns: int) -> LatencyHistogram:
        """The recent latencies; they move to the windows."""
        for seen in self.seen:
            seen.flush()
        drained = LatencyHistogram()
        if self.recent.count:
            drained.merge(self.recent)
            self.recent.clear()
            self.windows.add((min(now_ns, self.end_ns) - self.start_ns) / 1e9, drained)
        return drained


class Meter:
    """Counts what arrives, by stage and role.

    Args:
        roles: of the clients.
        errors: where failures are counted, by kind.
        compact: whether the clients ask for COMPACT, so that the COMPACT chain of one client is checked.

    Attributes:
        offset_us: how far the server's clock is ahead of ours.
    """

    def __init__(self, roles: Sequence[Role], errors: Counter[str], compact: bool = False) -> None:
        self.offset_us = 0
        self._roles = roles
        self._content = ContentCheck(errors, compact)
        self._stages: list[_Stage] = []
        self._start_ns = self._end_ns = 0
        self._seen: list[Observations] = []
        self._until_sample = self._sample_gap = self._passed_until_sample = 1

    @property
    def begun(self) -> bool:
        """Whether there has been a stage."""
        return bool(self._stages)

    @property
    def present(self) -> Sequence[Observations]:
        """What has arrived in the present stage, for each role."""
        return self._seen

    def begin(self, start_ns: int, end_ns: int = NEVER_NS, clients: Sequence[SimulatedClient] = ()) -> None:
        """Begin a stage; the stage before ends then at the latest.

        Args:
            clients: the first connected client of each role gets a sample, because a role with few messages might get
                none otherwise.
        """
        if self._stages:
            self._stages[-1].end_ns = min(self._stages[-1].end_ns, start_ns)
        recent = LatencyHistogram()
        seen = [Observations(recent=recent if role.attentive else None) for role in self._roles]
        self._stages.append(_Stage(start_ns, end_ns, seen, recent))
        self._start_ns, self._end_ns, self._seen = start_ns, end_ns, seen
        self._until_sample = self._sample_gap = self._passed_until_sample = 1
        first_of: dict[int, SimulatedClient] = {}
        for client in clients:
            if client.reader is not None:
                first_of.setdefault(client.role, client)
        for client in first_of.values():
            _sample_next(client)

    def close(self, clients: list[SimulatedClient], outcomes: list[Outcome], now_ns: int) -> None:
        """End the present stage.

        Updates that are overdue by then count, or a server that stalls for good would look fast. Those of lost
        connections count, too, because a server that has died serves nobody in time.
        """
        stage = self._stages[-1]
        stage.outcomes = outcomes
        end_ns = min(stage.end_ns, now_ns)
        if stage.start_ns >= end_ns:
            return
        end_us = end_ns // 1000 + self.offset_us
        for client in clients:
            if 0 < client.due_us < end_us and client.attentive:
                seen = stage.seen[client.role]
                client.due_us = self._record_overdue(seen, client.due_us, client.interval_us, end_us, end_us)

    def on_connected(self, client: SimulatedClient) -> None:
        """The connection of a client is open, and nothing of its stream has been read yet."""
        self._content.on_connected(client)

    def begin_pass(self) -> tuple[int, int, int, int]:
        """What a read pass needs: begin and end of the stage in ns, the clock offset in µs, updates until a sample."""
        self._passed_until_sample = self._until_sample
        return self._start_ns, self._end_ns, self.offset_us, self._until_sample

    def record_pass(self, reading: ReadPass, until_sample: int) -> None:
        """Record the updates that `read_ready` has parsed."""
        self._until_sample = max(1, self._until_sample - (self._passed_until_sample - until_sample))
        for role, (messages, size) in enumerate(reading.counts.tolist()):
            if messages:
                self._seen[role].record_updates(size, *reading.latencies_us[role, :, :messages])

    def totals(self) -> tuple[int, int]:
        """Messages and bytes of all stages so far."""
        seen = [each for stage in self._stages for each in stage.seen]
        return sum(each.messages for each in seen), sum(each.bytes for each in seen)

    def drain_recent(self, now_ns: int) -> LatencyHistogram:
        """The latencies of attentive clients since the last call.

        Args:
            now_ns: unix time, which determines the latency window.
        """
        drained = LatencyHistogram()
        for stage in self._stages:
            drained.merge(stage.drain_recent(now_ns))
        return drained

    def report(self, now_ns: int) -> list[StageObservations]:
        """All stages that have begun."""
        self.drain_recent(now_ns)
        for stage in self._stages:
            for seen in stage.seen:
                seen.recent = None
        return [StageObservations(stage.outcomes, stage.seen, stage.windows) for stage in self._stages]

    def seen_at(self, arrival_ns: int, role: int) -> Observations | None:
        """The observations that an arrival at this time belongs to; None if it is between stages."""
        for stage in reversed(self._stages):
            if stage.start_ns <= arrival_ns < stage.end_ns:
                return stage.seen[role]
        return None

    def count_missing_stamp(self, client: SimulatedClient, arrival_ns: int) -> None:
        """Count an arrival without a kernel timestamp."""
        seen = self.seen_at(arrival_ns, client.role)
        if seen is not None:
            seen.user_space_stamps += 1

    def record_message(self, client: SimulatedClient, message: ReceivedMessage, arrival_ns: int, read_ns: int) -> None:
        """Record a complete message.

        Args:
            arrival_ns: the kernel's timestamp of its last byte, unix time.
            read_ns: when the generator read it, unix time.
        """
        type_id, stamp_us = message.type_id, message.timestamp_us
        seen = self.seen_at(arrival_ns, client.role)
        self._content.check(client, message, seen)
        if message.sampled and (arrival_ns < self._start_ns or type_id not in STATE_TYPES):
            _sample_next(client)  # the sample was meant to be of the present stage
        if type_id == MessageType.POSITION_UPDATE and stamp_us:
            sequence, interval_us = message.sequence, message.interval_us
            self.record_update(
                client, message.flags, message.size, sequence, stamp_us, interval_us, arrival_ns, read_ns
            )
            return
        if seen is not None:
            seen.messages += 1
            seen.bytes += message.size
            if type_id in STATE_TYPES:
                seen.frames += 1
                if seen is self._seen[client.role]:
                    self._count_down(client, seen)
            if type_id == MessageType.VOICE_DATA and message.payload is not None:
                spoken_us = spoken_at_us(message.payload)
                if spoken_us is not None:
                    seen.record_voice(arrival_ns // 1000 - spoken_us)
        if type_id == MessageType.FULL_GRAPH and stamp_us:
            client.on_full_graph(message.sequence)

    def record_update(
        self,
        client: SimulatedClient,
        flags: int,
        size: int,
        sequence: int,
        stamp_us: int,
        interval_us: int,
        arrival_ns: int,
        read_ns: int,
    ) -> None:
        """Record a complete TIMED PositionUpdate. `record_pass` records most of them instead."""
        due_us, announced_us = client.due_us, client.interval_us
        settled = bool(flags & _SETTLED)
        settling = settled and not client.settled
        client.settled = settled
        client.interval_us = interval_us
        client.due_us = stamp_us + interval_us if interval_us else 0
        follows = sequence == client.sequence + 1 and not client.after_graph
        if follows:
            client.sequence = sequence
            missing = repeated = reordered = 0
        else:
            missing, repeated, reordered = client.on_update(sequence)
        present = self._start_ns <= arrival_ns < self._end_ns
        if present:
            seen = self._seen[client.role]
        else:
            earlier = self.seen_at(arrival_ns, client.role)
            if earlier is None:
                return
            seen = earlier
        seen.messages += 1
        seen.bytes += size
        seen.frames += 1
        if not follows:
            seen.gaps += missing
            seen.duplicates += repeated
            seen.reordered += reordered
        sent_us = stamp_us - self.offset_us
        latency_us = arrival_ns // 1000 - sent_us
        seen.record(latency_us, read_ns // 1000 - sent_us)
        if not due_us or due_us >= stamp_us or settling:
            # In time, or the layout has just settled: that lengthens the interval by design and is no stall.
            seen.record_corrected(latency_us)
        else:
            self._record_overdue(seen, due_us, announced_us, stamp_us, stamp_us + latency_us)
        if present:
            self._count_down(client, seen)

    def _record_overdue(self, seen: Observations, due_us: int, interval_us: int, until_us: int, arrival_us: int) -> int:
        """Record the corrected latency of an update that was due at `due_us` and stamped later, or never.

        Each further update that was due before `until_us` and did not come counts, too, from its own due time. So a
        server that stalls cannot omit what was slow (HdrHistogram: recordValueWithExpectedInterval).

        Returns:
            When the next update is due.
        """
        for _ in range(MAX_MISSED_UPDATES):
            seen.record_corrected(arrival_us - due_us)
            due_us += interval_us
            if due_us >= until_us:
                break
        return due_us

    def _count_down(self, client: SimulatedClient, seen: Observations) -> None:
        """Count one message towards the next sample: gaps of 1, 2, 4, … messages, up to SAMPLE_EVERY."""
        self._until_sample -= 1
        if self._until_sample > 0:
            return
        self._sample_gap = min(2 * self._sample_gap, SAMPLE_EVERY)
        self._until_sample = self._sample_gap
        if client.reader is not None and client.socket is not None:
            _sample_next(client)
            seen.full_buffers += client.attentive and is_full(client.socket)


def _sample_next(client: SimulatedClient) -> None:
    """Request the next message of a client with its whole payload."""
    if client.reader is not None:
        client.reader.sample_next = True
        client.whole_bytes = 0


def is_full(sock: socket.socket) -> bool:
    """Whether a socket's receive buffer has no room for more, because it was not read fast enough."""
    try:
        held, limit, *_ = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))
    except (OSError, struct.error):
        return False  # not Linux
    return bool(4 * held >= 3 * limit)
