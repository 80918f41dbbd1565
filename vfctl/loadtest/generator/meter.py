"""What a message means for the measurement: latency against its stamp and against the schedule, order, content."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vfctl.loadtest.generator.compiled_reading import Round
from vfctl.loadtest.generator.content_check import STATE_TYPES, ContentCheck
from vfctl.loadtest.generator.frames import Arrived
from vfctl.loadtest.generator.latency_windows import LatencyBlocks
from vfctl.loadtest.generator.observations import Observations, Outcome, StageSeen
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.loadtest.generator.speech import spoken_us
from vfctl.loadtest.scenario.roles import Role
from vfctl.metrics import LatencyHistogram
from vfctl.protocol import Flag, MessageType

SAMPLE_EVERY: Final = 1009
"""One message in so many is decoded whole, the first of each stage more often. Prime, so that it keeps no step with
rounds or clients."""

MAX_MISSED_ROUNDS: Final = 10_000
"""Rounds that one late message may stand for: 8 minutes at 20 Hz."""

SO_MEMINFO: Final = 55
"""Linux: what a socket's queues hold. Python has no name for it."""

_MEMINFO: Final = struct.Struct("@9I")
_SETTLED: Final = int(Flag.SETTLED)
NEVER_NS: Final = 2**63 - 1


@dataclass(slots=True)
class Window:
    """A stage's share of time, [start_ns, end_ns) in unix time, and what has arrived within it, by role.

    Attributes:
        recent: latencies of attentive clients since somebody last took them.
        blocks: those that were taken, by time.
    """

    start_ns: int
    end_ns: int
    seen: list[Observations]
    recent: LatencyHistogram
    blocks: LatencyBlocks = field(default_factory=LatencyBlocks)
    outcomes: list[Outcome] = field(default_factory=list)

    def take_recent(self, now_ns: int) -> LatencyHistogram:
        """What is recent no more, but is in the blocks from now on."""
        for seen in self.seen:
            seen.flush()
        taken = LatencyHistogram()
        if self.recent.count:
            taken.merge(self.recent)
            self.recent.clear()
            self.blocks.add((min(now_ns, self.end_ns) - self.start_ns) / 1e9, taken)
        return taken


class Meter:
    """Counts what arrives, stage by stage and role by role.

    Args:
        roles: that clients play.
        errors: where failures are counted, by kind.
        compact: whether the clients ask for COMPACT, so that one is followed.

    Attributes:
        offset_us: what the server's clock is ahead of ours.
    """

    def __init__(self, roles: Sequence[Role], errors: Counter[str], compact: bool = False) -> None:
        self.offset_us = 0
        self._roles = roles
        self._content = ContentCheck(errors, compact)
        self._windows: list[Window] = []
        self._start_ns = self._end_ns = 0
        self._seen: list[Observations] = []
        self._until_sample = self._sample_gap = self._told_until_sample = 1

    @property
    def begun(self) -> bool:
        """Whether there has been a stage."""
        return bool(self._windows)

    def begin(self, start_ns: int, end_ns: int = NEVER_NS, clients: Sequence[SimulatedClient] = ()) -> None:
        """A stage begins; the one before it is over by then, if it is not yet.

        Args:
            clients: the first of each role that is connected is asked for a sample, or a role with few messages
                would have none.
        """
        if self._windows:
            self._windows[-1].end_ns = min(self._windows[-1].end_ns, start_ns)
        recent = LatencyHistogram()
        seen = [Observations(recent=recent if role.attentive else None) for role in self._roles]
        self._windows.append(Window(start_ns, end_ns, seen, recent))
        self._start_ns, self._end_ns, self._seen = start_ns, end_ns, seen
        self._until_sample = self._sample_gap = self._told_until_sample = 1
        first_of: dict[int, SimulatedClient] = {}
        for client in clients:
            if client.reader is not None:
                first_of.setdefault(client.role, client)
        for client in first_of.values():
            _ask_for_next(client)

    def close(self, clients: list[SimulatedClient], outcomes: list[Outcome], now_ns: int) -> None:
        """The last stage that has begun is over.

        Rounds that are still owed by then count, or a server that stalls for good would not. Those of lost
        connections too: a server that has died serves nobody in time.
        """
        window = self._windows[-1]
        window.outcomes = outcomes
        end_ns = min(window.end_ns, now_ns)
        if window.start_ns >= end_ns:
            return
        end_us = end_ns // 1000 + self.offset_us
        for client in clients:
            if 0 < client.due_us < end_us and client.attentive:
                seen = window.seen[client.role]
                client.due_us = self._record_overdue(seen, client.due_us, client.interval_us, end_us, end_us)

    def connected(self, client: SimulatedClient) -> None:
        """Its connection is open, and nothing of the stream has been read yet."""
        self._content.connected(client)

    def stage(self) -> tuple[int, int, int, int]:
        """What a round of reading has to know: begin, end, the clock's offset, and updates up to the next sample."""
        self._told_until_sample = self._until_sample
        return self._start_ns, self._end_ns, self.offset_us, self._until_sample

    def note_round(self, reading: Round, until_sample: int) -> None:
        """Updates that `read_ready` has made sense of."""
        self._until_sample = max(1, self._until_sample - (self._told_until_sample - until_sample))
        for role, (messages, size) in enumerate(reading.counts.tolist()):
            if messages:
                self._seen[role].record_round(size, *reading.latencies_us[role, :, :messages])

    def totals(self) -> tuple[int, int]:
        """Messages and bytes of all stages so far."""
        seen = [each for window in self._windows for each in window.seen]
        return sum(each.messages for each in seen), sum(each.bytes for each in seen)

    def take_recent(self, now_ns: int) -> LatencyHistogram:
        """The latencies of attentive clients since the last call.

        Args:
            now_ns: unix time, for the blocks that they go to.
        """
        taken = LatencyHistogram()
        for window in self._windows:
            taken.merge(window.take_recent(now_ns))
        return taken

    def report(self, now_ns: int) -> list[StageSeen]:
        """All stages that have begun."""
        self.take_recent(now_ns)
        for window in self._windows:
            for seen in window.seen:
                seen.recent = None
        return [StageSeen(window.outcomes, window.seen, window.blocks) for window in self._windows]

    def seen_at(self, arrival_ns: int, role: int) -> Observations | None:
        """Where something belongs that has arrived at this time; None if between stages."""
        for window in reversed(self._windows):
            if window.start_ns <= arrival_ns < window.end_ns:
                return window.seen[role]
        return None

    def note_missing_stamp(self, client: SimulatedClient, arrival_ns: int) -> None:
        """Something came without the kernel's stamp."""
        seen = self.seen_at(arrival_ns, client.role)
        if seen is not None:
            seen.user_space_stamps += 1

    def note(self, client: SimulatedClient, arrived: Arrived, arrival_ns: int, read_ns: int) -> None:
        """One message has come whole.

        Args:
            arrival_ns: the kernel's stamp of its last byte, unix time.
            read_ns: when the generator got round to it.
        """
        type_id, stamp_us = arrived.type_id, arrived.timestamp_us
        seen = self.seen_at(arrival_ns, client.role)
        self._content.check(client, arrived, seen)
        if arrived.sampled and (arrival_ns < self._start_ns or type_id not in STATE_TYPES):
            _ask_for_next(client)  # it was asked for a sample of the present stage
        if type_id == MessageType.POSITION_UPDATE and stamp_us:
            sequence, interval_us = arrived.sequence, arrived.interval_us
            self.note_update(client, arrived.flags, arrived.size, sequence, stamp_us, interval_us, arrival_ns, read_ns)
            return
        if seen is not None:
            seen.messages += 1
            seen.bytes += arrived.size
            if type_id in STATE_TYPES:
                seen.frames += 1
                if seen is self._seen[client.role]:
                    self._count_down(client, seen)
            if type_id == MessageType.VOICE_DATA and arrived.payload is not None:
                said_us = spoken_us(arrived.payload)
                if said_us is not None:
                    seen.record_voice(arrival_ns // 1000 - said_us)
        if type_id == MessageType.FULL_GRAPH and stamp_us:
            client.full_graph(arrived.sequence)

    def note_update(
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
        """A TIMED PositionUpdate has come whole. Most that are as expected are counted by `note_round` instead."""
        due_us, promised_us = client.due_us, client.interval_us
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
            missing, repeated, reordered = client.position_update(sequence)
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
            # In time; or a layout that comes to rest, which lengthens the interval by design and is no stall.
            seen.record_against_schedule(latency_us)
        else:
            self._record_overdue(seen, due_us, promised_us, stamp_us, stamp_us + latency_us)
        if present:
            self._count_down(client, seen)

    def _record_overdue(self, seen: Observations, due_us: int, interval_us: int, until_us: int, arrival_us: int) -> int:
        """Latency against the schedule, of a round that was promised for `due_us` and stamped later, or never.

        Each further round that was promised before `until_us` and did not come counts as well, from its own due
        time: a server that stalls cannot leave out what was slow (HdrHistogram: recordValueWithExpectedInterval).

        Returns:
            When the next one is due.
        """
        for _ in range(MAX_MISSED_ROUNDS):
            seen.record_against_schedule(arrival_us - due_us)
            due_us += interval_us
            if due_us >= until_us:
                break
        return due_us

    def _count_down(self, client: SimulatedClient, seen: Observations) -> None:
        """A message less until the next sample: gaps of 1, 2, 4, … messages, up to SAMPLE_EVERY."""
        self._until_sample -= 1
        if self._until_sample > 0:
            return
        self._sample_gap = min(2 * self._sample_gap, SAMPLE_EVERY)
        self._until_sample = self._sample_gap
        if client.reader is not None and client.socket is not None:
            _ask_for_next(client)
            seen.full_buffers += client.attentive and is_full(client.socket)


def _ask_for_next(client: SimulatedClient) -> None:
    """Have its next message come with its whole payload."""
    if client.reader is not None:
        client.reader.sample_next = True
        client.whole_bytes = 0


def is_full(sock: socket.socket) -> bool:
    """Whether a socket's receive buffer has no room for more: whoever should have read it did not."""
    try:
        held, limit, *_ = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))
    except (OSError, struct.error):
        return False  # not Linux
    return bool(4 * held >= 3 * limit)
