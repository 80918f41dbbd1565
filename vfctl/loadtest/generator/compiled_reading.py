"""The compiled part of a read pass, which handles nearly all messages.

Nearly every message is a whole TIMED PositionUpdate, the next one of its client, in time or a little late. For these,
one pass costs the two system calls and some arithmetic. Everything else is passed to Python code: `Receiver`, `Meter`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vfctl.loadtest.generator.simulated_client import (
    AFTER_GRAPH,
    DUE_US,
    INTERVAL_US,
    ROLE,
    SEQUENCE,
    SETTLED,
    WHOLE_BYTES,
)
from vfctl.protocol.websocket import Opcode
from vfctl.protocol.wire import TRAILER, VERSION, Flag, MessageType
from vfctl.sockets.calls import (
    AGAIN,
    EVENT_FD,
    EVENT_WORDS,
    INTERRUPTED,
    compiled,
    receive,
    received_message,
    unix_time_ns,
)

BUFFER_BYTES: Final = 512 * 1024

UNUSUAL_WORDS: Final = 8
"""A whole update that the meter must handle (out of order, later than an interval, outside the stage, or the next
sample): client, flags, size, sequence, stamp_us, interval_us, arrival_ns, read_ns."""

KERNEL, USER, CORRECTED = range(3)

NO_CLIENT: Final = -1

# Why `read_ready` stopped.
DONE: Final = 0
PARSE: Final = 1
"""The bytes that were read are no whole update. They are in the buffer."""
FAILED: Final = 2

_BINARY: Final = 0x80 | int(Opcode.BINARY)
_UPDATE: Final = int(MessageType.POSITION_UPDATE)
_TIMED: Final = int(Flag.TIMED)
_SETTLED: Final = int(Flag.SETTLED)
_TRAILER_BYTES: Final = TRAILER.size
_MIN_BYTES: Final = 2 + 8 + _TRAILER_BYTES


@compiled
def _whole_update(buffer: Any, count: int) -> int:
    """Offset of the V4 header, if buffer[:count] is exactly one TIMED PositionUpdate in one frame; else 0."""
    if count < _MIN_BYTES or buffer[0] != _BINARY:
        return 0
    start, size = 2, int(buffer[1])
    if size == 126:
        start, size = 4, (int(buffer[2]) << 8) | int(buffer[3])
    elif size == 127:
        start, size = 10, 0
        for index in range(2, 10):
            size = (size << 8) | int(buffer[index])
    whole = start + size == count and buffer[start] == VERSION and buffer[start + 1] == _UPDATE
    return start if whole and buffer[start + 2] & _TIMED else 0


@compiled
def _little_endian(buffer: Any, start: int, size: int) -> int:
    value = 0
    for index in range(size):
        value |= int(buffer[start + index]) << (8 * index)
    return value


@compiled
def read_ready(
    events: Any,
    first: int,
    last: int,
    client_of: Any,
    streams: Any,
    stage: Any,
    buffer: Any,
    message: Any,
    latencies_us: Any,
    counts: Any,
    unusual: Any,
    unread: Any,
    more: Any,
    tally: Any,
) -> int:
    """Read one frame for each of events[first:last] whose client expects a whole update.

    Args:
        events: int32 [events, EVENT_WORDS].
        client_of: int32 [descriptors], the client of each descriptor, or NO_CLIENT.
        streams: int64 [clients, STREAM_WORDS].
        stage: int64 [4]: begin and end of the stage, unix time in ns; how far the server's clock is ahead, in µs;
            updates until the next sample, counted down to 0.
        buffer: uint8 [BUFFER_BYTES], receives a frame.
        message: what `receive` needs.
        latencies_us: int64 [roles, 3, events], filled: to the kernel's timestamp, to now, and corrected.
        counts: int64 [roles, 2], added to: messages and bytes that were handled here.
        unusual: int64 [events, UNUSUAL_WORDS], filled.
        unread: int64 [events], filled: clients that expect something else.
        more: int64 [events], filled: descriptors with more to read.
        tally: int64 [8]: entries in `unusual` and `unread`; where it stopped: event, client, bytes (or -errno), arrival
            and reading time in ns; entries in `more`.

    Returns:
        DONE, PARSE or FAILED. After the latter two, continue at `tally[2]` + 1.
    """
    scratch = np.empty(2, np.int64)
    for at in range(first, last):
        fd = events[at, EVENT_FD]
        client = client_of[fd]
        if client == NO_CLIENT:
            continue
        stream = streams[client]
        wanted = stream[WHOLE_BYTES]
        if wanted == 0:
            unread[tally[1]] = client
            tally[1] += 1
            continue
        count, arrival_ns, left = receive(fd, buffer.ctypes.data, wanted, message)
        if count == -AGAIN or count == -INTERRUPTED:
            continue
        read_ns = unix_time_ns(scratch)
        if left:
            more[tally[7]] = fd
            tally[7] += 1
        start = _whole_update(buffer, count) if count > 0 and arrival_ns > 0 else 0
        if start == 0:
            tally[2], tally[3], tally[4], tally[5], tally[6] = at, client, count, arrival_ns, read_ns
            return PARSE if count >= 0 else FAILED
        flags = int(buffer[start + 2])
        sequence = _little_endian(buffer, count - 20, 8)
        stamp_us = _little_endian(buffer, count - 12, 8)
        interval_us = _little_endian(buffer, count - 4, 4)
        settled = flags & _SETTLED != 0
        due_us = stream[DUE_US]
        in_time = due_us == 0 or due_us >= stamp_us or (settled and stream[SETTLED] == 0)
        none_missed = in_time or due_us + stream[INTERVAL_US] >= stamp_us
        follows = sequence == stream[SEQUENCE] + 1 and stream[AFTER_GRAPH] == 0
        if not (none_missed and follows and stage[0] <= arrival_ns < stage[1] and stage[3] != 1):
            if stage[3] == 1:
                stage[3] = 0
            index = tally[0]
            tally[0] += 1
            unusual[index, 0] = client
            unusual[index, 1] = flags
            unusual[index, 2] = count
            unusual[index, 3] = sequence
            unusual[index, 4] = stamp_us
            unusual[index, 5] = interval_us
            unusual[index, 6] = arrival_ns
            unusual[index, 7] = read_ns
            continue
        stage[3] = max(0, stage[3] - 1)
        stream[SEQUENCE] = sequence
        stream[SETTLED] = settled
        stream[INTERVAL_US] = interval_us
        stream[DUE_US] = stamp_us + interval_us if interval_us else 0
        role = stream[ROLE]
        index = counts[role, 0]
        counts[role, 0] += 1
        counts[role, 1] += count
        sent_us = stamp_us - stage[2]
        latency_us = arrival_ns // 1000 - sent_us
        latencies_us[role, KERNEL, index] = latency_us
        latencies_us[role, USER, index] = read_ns // 1000 - sent_us
        latencies_us[role, CORRECTED, index] = latency_us if in_time else latency_us + stamp_us - due_us
    return DONE


class ReadPass:
    """The arrays of one read pass, for up to `size` sockets. `outputs` are the last arguments of `read_ready`."""

    def __init__(self, size: int, roles: int) -> None:
        self.events = np.zeros((size, EVENT_WORDS), np.int32)
        self.events_address = self.events.ctypes.data
        self.latencies_us = np.zeros((roles, 3, size), np.int64)
        self.counts = np.zeros((roles, 2), np.int64)
        self.unusual = np.zeros((size, UNUSUAL_WORDS), np.int64)
        self.unread = np.zeros(size, np.int64)
        self.more = np.zeros(size, np.int64)
        self.tally = np.zeros(8, np.int64)
        message = self.message = received_message()
        self.outputs = (message, self.latencies_us, self.counts, self.unusual, self.unread, self.more, self.tally)

    def clear(self) -> None:
        """Begin a new pass."""
        self.counts[:] = 0
        self.tally[:] = 0
