"""What a message means for the measurement: latency against its stamp and against the schedule, order, content."""

from __future__ import annotations

import socket
import struct
from typing import Final

import numpy as np

from vfctl.errors import ProtocolError
from vfctl.loadtest.frames import Arrived
from vfctl.loadtest.observations import Observations
from vfctl.loadtest.simulated_client import SimulatedClient
from vfctl.protocol import CompactUpdate, Flag, FullGraph, MessageType, PositionUpdate, decode

SAMPLE_EVERY: Final = 1009
"""One message in so many is decoded whole. Prime, so that it keeps no step with rounds or clients."""

MAX_MISSED_ROUNDS: Final = 10_000
"""Rounds that one late message may stand for: 8 minutes at 20 Hz."""

SO_MEMINFO: Final = 55
"""Linux: what a socket's queues hold. Python has no name for it."""

_MEMINFO: Final = struct.Struct("@9I")
_SETTLED: Final = int(Flag.SETTLED)
_STATE_TYPES: Final = frozenset({int(MessageType.FULL_GRAPH), int(MessageType.POSITION_UPDATE)})
_NEVER_NS: Final = 2**63


class Meter:
    """Counts what arrives within the measured window.

    Attributes:
        observations: what has been counted.
    """

    def __init__(self) -> None:
        self.observations = Observations()
        self._start_ns = _NEVER_NS
        self._end_ns = _NEVER_NS
        self._until_sample = SAMPLE_EVERY

    def measure(self, start_ns: int, end_ns: int) -> None:
        """Count what arrives within [start, end), unix time in ns."""
        self._start_ns, self._end_ns = start_ns, end_ns

    def note(self, client: SimulatedClient, arrived: Arrived, arrival_ns: int, read_ns: int) -> None:
        """One message has come whole.

        Args:
            arrival_ns: the kernel's stamp of its last byte, unix time.
            read_ns: when the generator got round to it.
        """
        type_id, stamp_us = arrived.type_id, arrived.timestamp_us
        measured = self._start_ns <= arrival_ns < self._end_ns
        if measured and arrived.sampled and type_id in _STATE_TYPES:
            self._check(arrived)
        if type_id == MessageType.POSITION_UPDATE and stamp_us:
            sequence, interval_us = arrived.sequence, arrived.interval_us
            self.note_update(client, arrived.flags, arrived.size, sequence, stamp_us, interval_us, arrival_ns, read_ns)
            return
        if measured:
            self.observations.messages += 1
            self.observations.bytes += arrived.size
            self.observations.frames += type_id in _STATE_TYPES
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
        """A TIMED PositionUpdate has come whole: most of what ever comes, so this is kept short."""
        due_us, promised_us = client.due_us, client.interval_us
        settled = flags & _SETTLED
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
        if not self._start_ns <= arrival_ns < self._end_ns:
            return
        seen = self.observations
        seen.messages += 1
        seen.bytes += size
        seen.frames += 1
        if not follows:
            seen.gaps += missing
            seen.duplicates += repeated
            seen.reordered += reordered
        arrival_us = arrival_ns // 1000
        seen.record_latency(arrival_us - stamp_us, read_ns // 1000 - stamp_us)
        if not due_us or due_us >= stamp_us or settling:
            # In time; or a layout that comes to rest, which lengthens the interval by design and is no stall.
            seen.record_corrected(arrival_us - stamp_us)
        else:
            self._record_overdue(due_us, promised_us, stamp_us, arrival_us)
        self._until_sample -= 1
        if self._until_sample <= 0:
            self._sample_next_of(client)

    def finish(self, clients: list[SimulatedClient], now_ns: int) -> None:
        """The window is over: rounds that are still owed by then count, or a server that stalls for good would not.

        Those of lost connections too: a server that has died serves nobody in time.
        """
        end_us = min(self._end_ns, now_ns) // 1000
        if self._start_ns // 1000 >= end_us:
            return
        for client in clients:
            if 0 < client.due_us < end_us:
                self._record_overdue(client.due_us, client.interval_us, end_us, end_us)

    def _record_overdue(self, due_us: int, interval_us: int, until_us: int, arrival_us: int) -> None:
        """Latency against the schedule, of a round that was promised for `due_us` and stamped later, or never.

        Each further round that was promised before `until_us` and did not come counts as well, from its own due
        time: a server that stalls cannot leave out what was slow (HdrHistogram: recordValueWithExpectedInterval).
        """
        for _ in range(MAX_MISSED_ROUNDS):
            self.observations.record_corrected(arrival_us - due_us)
            due_us += interval_us
            if due_us >= until_us:
                return

    def _sample_next_of(self, client: SimulatedClient) -> None:
        self._until_sample = SAMPLE_EVERY
        if client.reader is not None and client.socket is not None:
            client.reader.sample_next = True
            self.observations.full_buffers += is_full(client.socket)

    def _check(self, arrived: Arrived) -> None:
        """A sampled message, decoded whole: what the reader took for a good frame must be one."""
        seen = self.observations
        seen.sampled += 1
        try:
            message = decode(arrived.payload or b"")
        except ProtocolError as error:
            seen.wrong += 1
            seen.errors[f"wrong bytes: {error.message}"] += 1
            return
        if isinstance(message, CompactUpdate):
            return
        assert isinstance(message, FullGraph | PositionUpdate)
        motion = message.nodes.view(np.float32).reshape(-1, 7)[:, 1:] if len(message.nodes) else np.zeros((0, 6))
        if not np.isfinite(motion).all() or len(np.unique(message.nodes["id"])) != len(message.nodes):
            seen.wrong += 1
            seen.errors["wrong nodes: positions that are not finite, or ids that occur twice"] += 1


def is_full(sock: socket.socket) -> bool:
    """Whether a socket's receive buffer has no room for more: whoever should have read it did not."""
    try:
        held, limit, *_ = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))
    except (OSError, struct.error):
        return False  # not Linux
    return bool(4 * held >= 3 * limit)
