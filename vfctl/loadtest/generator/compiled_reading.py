"""A round of reading, compiled: what nearly all messages go through.

Nearly every message is a whole TIMED PositionUpdate, the next one of its client, in time or a little late. For those a
round costs the two system calls and some arithmetic. Anything else is handed over to Python, which knows what to make
of it: `Receiver` and `Meter`.
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

ODD_WORDS: Final = 8
"""A whole update that the meter has to look at (out of order, later than a round, outside the stage, or the next to be
sampled): client, flags, size, sequence, stamp_us, interval_us, arrival_ns, read_ns."""

KERNEL, USER, SCHEDULE = range(3)

NOBODY: Final = -1

# What `read_ready` stopped for.
DONE: Final = 0
LOOK: Final = 1
"""What has been read is no whole update: it is in the buffer."""
FAILED: Final = 2

_BINARY: Final = 0x80 | int(Opcode.BINARY)
_UPDATE: Final = int(MessageType.POSITION_UPDATE)
_TIMED: Final = int(Flag.TIMED)
_SETTLED: Final = int(Flag.SETTLED)
_TRAILER_BYTES: Final = TRAILER.size
_LEAST_BYTES: Final = 2 + 8 + _TRAILER_BYTES


@compiled
def _whole_update(buffer: Any, count: int) -> int:
    """Where the V4 header is, if buffer[:count] is just one TIMED PositionUpdate in one frame; 0 if it is not."""
    if count < _LEAST_BYTES or buffer[0] != _BINARY:
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
    odd: Any,
    unread: Any,
    more: Any,
    tally: Any,
) -> int:
    """Read one frame of each of events[first:last] whose client expects a whole update.

    Args:
        events: int32 [events, EVENT_WORDS].
        client_of: int32 [descriptors], whose socket a descriptor is, or NOBODY.
        streams: int64 [clients, STREAM_WORDS].
        stage: int64 [4]: when it begins and ends, unix time in ns; the server's clock ahead of ours, µs; updates up to
            the next one that is sampled, counted down to 0.
        buffer: uint8 [BUFFER_BYTES], where a frame is read to.
        message: what `receive` needs.
        latencies_us: int64 [roles, 3, events], filled: to the kernel's stamp, to now, and against the schedule.
        counts: int64 [roles, 2], added to: these messages and their bytes.
        odd: int64 [events, ODD_WORDS], filled.
        unread: int64 [events], filled: clients that expect something else.
        more: int64 [events], filled: descriptors that have more to read.
        tally: int64 [8]: how many are in `odd` and `unread`; where it stopped, the client, bytes (or -errno), arrival
            and reading time in ns; how many are in `more`.

    Returns:
        DONE, LOOK or FAILED; for the latter two go on at `tally[2]` + 1.
    """
    scratch = np.empty(2, np.int64)
    for at in range(first, last):
        fd = events[at, EVENT_FD]
        client = client_of[fd]
        if client == NOBODY:
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
            return LOOK if count >= 0 else FAILED
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
            odd[index, 0] = client
            odd[index, 1] = flags
            odd[index, 2] = count
            odd[index, 3] = sequence
            odd[index, 4] = stamp_us
            odd[index, 5] = interval_us
            odd[index, 6] = arrival_ns
            odd[index, 7] = read_ns
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
        latencies_us[role, SCHEDULE, index] = latency_us if in_time else latency_us + stamp_us - due_us
    return DONE


class Round:
    """The arrays of a round, for up to `size` sockets."""

    def __init__(self, size: int, roles: int) -> None:
        self.events = np.zeros((size, EVENT_WORDS), np.int32)
        self.events_address = self.events.ctypes.data
        self.latencies_us = np.zeros((roles, 3, size), np.int64)
        self.counts = np.zeros((roles, 2), np.int64)
        self.odd = np.zeros((size, ODD_WORDS), np.int64)
        self.unread = np.zeros(size, np.int64)
        self.more = np.zeros(size, np.int64)
        self.tally = np.zeros(8, np.int64)
        self.message = received_message()

    def clear(self) -> None:
        """A new round begins."""
        self.counts[:] = 0
        self.tally[:] = 0
